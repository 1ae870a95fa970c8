import datetime as dt

import pytest

from tranship.core.origin import Origin

HRIT = (
    "/in/H-000-{series:_<6s}-{platform_name:_<12s}-{channel:_<9s}-{segment:_<9s}-{nominal_time:%Y%m%d%H%M}"
    "-{compression:1s}_"
)


def test_fields_of_a_segment() -> None:
    origin = Origin(HRIT)
    assert origin.root == "/in"
    assert origin.depth == 0
    fields = origin.fields("/in/H-000-MSG4__-MSG4________-HRV______-000001___-202401011200-C_")
    assert fields == {
        "series": "MSG4",
        "platform_name": "MSG4",
        "channel": "HRV",
        "segment": "000001",
        "nominal_time": dt.datetime(2024, 1, 1, 12),
        "compression": "C",
    }


def test_folders_may_hold_fields() -> None:
    origin = Origin("/in/here/{platform}_{orbit:05d}/{name}.h5")
    assert (origin.root, origin.depth) == ("/in/here", 1)
    assert origin.fields("/in/here/npp_00012/a.h5") == {"platform": "npp", "orbit": 12, "name": "a"}


@pytest.mark.parametrize(
    "path",
    [
        "/in/here/npp_00012/sub/a.h5",
        "/in/here/a.h5",
        "/in/here/npp_00012/a.h4",
        "/in/elsewhere/npp_00012/a.h5",
    ],
)
def test_what_does_not_fit_has_no_fields(path: str) -> None:
    origin = Origin("/in/here/{platform}_{orbit:05d}/{name}.h5")
    assert origin.fields(path) is None


def test_a_fixed_name_is_a_pattern_too() -> None:
    origin = Origin("/in/only.dat")
    assert (origin.root, origin.fields("/in/only.dat"), origin.fields("/in/other.dat")) == ("/in", {}, None)


def test_a_relative_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="no full path"):
        Origin("in/{name}")


def test_no_name_takes_for_ever() -> None:
    """Whoever puts files there chooses their names. Tried in every way, these would take years."""
    many = Origin("/in/{a}_{b}_{c}_{d}_{e}_{f}_{g}.dat")
    assert not many.covers("/in/" + "_" * 240 + "x")
    dated = Origin("/in/{a}_{b}_{c}_{d}_{e}_{f}_{t:%Y%m%d}.dat")
    assert dated.fields("/in/" + "_" * 240 + ".dat") is None
    name = "/in/S3A_OL_1_EFR____LN1_O_NR_20260101_" + "x" * 60 + "_20260102.dat"
    found = dated.fields(name)
    assert found is not None
    assert found["t"].day == 2
