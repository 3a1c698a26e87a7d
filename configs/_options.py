"""Options after a configuration's colon: what they are, and what they stand for."""

from collections.abc import Mapping

from ml_collections import ConfigDict

from csst_jax.types import CsstError


def one_of(name: str, value: str, known: Mapping[str, str]) -> str:
    """What an option's value stands for.

    Raises:
      CsstError: an unknown value; lists the known ones.
    """
    if value not in known:
        raise CsstError(f"option {name}={value} after the config's colon: give one of {', '.join(known)}.")
    return known[value]


def choose_networks(c: ConfigDict, net: str, student: str, pretrained: str) -> None:
    """Sets the teacher's network, the student's (empty: the same), and weights for whichever of them is `net`."""
    c.teacher.network, c.student.network = net, student or net
    for stage in (c.teacher, c.student):
        if stage.network == net:
            stage.pretrained = pretrained


def options(arg: str, **defaults: str) -> dict[str, str]:
    """Options after a config file's colon, `name=value` pairs separated by commas, on top of their defaults.

    Raises:
      CsstError: a pair without "=", or an unknown name; lists the known ones.
    """
    chosen = dict(defaults)
    for pair in filter(None, arg.split(",")):
        name, equals, value = pair.partition("=")
        if not equals or name not in defaults:
            raise CsstError(
                f"option {pair!r} after the config's colon: give name=value, name one of {', '.join(defaults)}."
            )
        chosen[name] = value
    return chosen
