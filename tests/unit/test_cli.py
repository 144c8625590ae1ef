"""Exit statuses: what ours, and what is no error of ours."""

import subprocess
import sys

import pytest

from ldke_pl.cli import FAULT, exit_status
from ldke_pl.errors import DataError


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (1, 1)])
def test_what_is_returned_is_the_status(returned: int | None, status: int) -> None:
    assert exit_status(lambda: returned) == status


def test_error_of_ours_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    def run() -> None:
        raise DataError("The file [x] is bad.", "bring another")

    assert exit_status(run) == FAULT == 2
    assert capsys.readouterr().err == "error: The file [x] is bad.\n  hint: bring another\n"


def test_bug_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        exit_status(lambda: 1 // 0)


def test_reader_that_goes_away_is_no_fault() -> None:
    program = "from ldke_pl.cli import exit_status; exit(exit_status(lambda: print('x\\n' * 100_000)))"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert (process.stderr.read(), process.wait(timeout=60)) == (b"", 0)
