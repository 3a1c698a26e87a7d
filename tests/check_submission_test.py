"""The check of a submission, as a command."""

from csst_jax import check_submission


def test_a_file_that_is_not_there_is_named_with_the_command_that_writes_one(tmp_path, capsys):
    arguments = [str(tmp_path / "none.zip"), "--format=bdd100k", "--data_dir=data"]
    assert check_submission.main(arguments) == 2
    said = capsys.readouterr().err
    assert f"there is no file {tmp_path / 'none.zip'}" in said and "csst evaluate --submission=bdd100k" in said
