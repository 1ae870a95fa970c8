"""The promises of a mover as pytest tests, for every protocol's test file.

Write a fixture that gives the ground (a real server, and how to connect to it), and name it:

    from contract_suite import suite
    from tranship_movers.checks import Ground

    @pytest.fixture
    def sftp_ground(tmp_path, sftp_server):
        return Ground(connect=lambda: SftpMover(sftp_server.place, SftpOptions()), folder="/", local=tmp_path)

    TestSftpPromises = suite("sftp_ground")

Each promise becomes one test of that class, named by the check's word: `-k TestSftpPromises and overwrite`.
A promise that needs a power which the mover says it does not have is not tried, unless its word stands in `must`.
Give `Ground(..., secret="the password")`, so that no error may show it.
"""

from collections.abc import Collection

import pytest

from tranship_movers.checks import CHECKS, Check, Ground


def suite(fixture: str = "ground", *, must: Collection[str] = ()) -> type:
    """A class with one test per promise, tried on the ground that the fixture gives."""
    unknown = set(must) - {check.word for check in CHECKS}
    assert not unknown, f"no such checks: {unknown}"

    class Promises:
        @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.word)
        def test_promise(self, check: Check, request: pytest.FixtureRequest) -> None:
            ground: Ground = request.getfixturevalue(fixture)
            verdict = check.run(ground)
            assert verdict == "holds" or (verdict == "not offered" and check.word not in must)

    return Promises
