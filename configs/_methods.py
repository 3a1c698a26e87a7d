"""Keys of the methods that train more than the network; `configs/base.py` has those of the others."""

from ml_collections import ConfigDict

HLCON_CITYSCAPES = {"threshold": 0.7, "discriminator_rate": 1e-5, "presence_weight": 0.0}
"""Keys of `hlcon` as the authors' commands for Cityscapes have them; these leave the classifier out."""


def add(c: ConfigDict) -> None:
    """Adds a block for each to a training stage."""
    # FreeMatch. Consistency whose threshold is the mean confidence so far, lower for rare classes.
    c.method.freematch = ConfigDict({"momentum": 0.999, "weight": 1.0, "cutmix": 0.5})
    # Cross pseudo supervision. Two networks learn each other's labels. The published weight without CutMix is 6.
    c.method.cps = ConfigDict({"weight": 5.0, "cutmix": 1.0})
    # CCT. Auxiliary decoders of changed encoder features agree with the network. There are as many of each kind as
    # published. Class 0 is the background, for context, background and cutout.
    c.method.cct = ConfigDict(
        {
            "weight": 30.0,
            "ramp_up": 0.1,
            "adversarial": 2,
            "drop": 6,
            "cutout": 6,
            "context": 2,
            "background": 2,
            "feature_drop": 6,
            "feature_noise": 6,
            "step": 2.0,
            "drop_rate": 0.5,
            "cut_side": 0.4,
            "noise": 0.3,
        }
    )
    # U2PL. An average labels. The pixels of the highest entropy (at first the share `unreliable`, at last none) are not
    # learned. They are negatives of the classes that they are not, in a bank of keys for each class.
    c.method.u2pl = ConfigDict(
        {
            "decay": 0.99,
            "weight": 1.0,
            "unreliable": 0.2,
            "cutmix": 0.5,
            "contrast_weight": 1.0,
            "least_probability": 0.3,
            "low_rank": 3,
            "high_rank": 20,
            "queries": 256,
            "negatives": 50,
            "temperature": 0.5,
            "channels": 256,
            "bank": 30000,
            "new_keys": 4096,
        }
    )
    # PseudoSeg. The strong view learns soft labels of the weak one: of the network and of attention, fused.
    c.method.pseudoseg = ConfigDict({"weight": 1.0, "temperature": 0.5, "channels": 128, "cutout": 1.0})
    # HLCOn. A discriminator judges predictions beside their images: the network learns its own labels of those that it
    # takes for masks. A classifier says which classes a crop shows, and its average takes out the others. The published
    # threshold is 0.7 for Cityscapes, and the rate 1e-5.
    c.method.hlcon = ConfigDict(
        {
            "matching_weight": 0.1,
            "weight": 1.0,
            "threshold": 0.6,
            "discriminator_rate": 1e-4,
            "discriminator_channels": 64,
            "presence_weight": 1.0,
            "presence_threshold": 0.2,
            "decay": 0.999,
            "burn_in": 0.1,
        }
    )
    # DST-CBC. Rounds, each with the labels of the network at its beginning. In round r of n, the most confident r/n
    # of the pixels of each class are learned, weighted by their probability to the power `gamma`. These are VOC's.
    c.method.dst_cbc = ConfigDict({"real_parts": 1, "unlabelled_parts": 7, "rounds": 5, "gamma": 9.0})
    # CorrMatch. Labels spread in regions of correlated positions. The threshold rises with the highest confidences.
    c.method.corrmatch = ConfigDict(
        {
            "threshold": 0.85,
            "momentum": 0.999,
            "real_weight": 0.5,
            "weight": 0.25,
            "dropout": 0.5,
            "cutmix": 0.5,
            "regions": 128,
        }
    )
