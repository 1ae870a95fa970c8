import hashlib
import json
import logging
import os
import random
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from botocore import exceptions
from contract_suite import suite

from servers import s3, scripted
from servers.ports import free_port
from servers.proxy import Fault, Proxy, Route
from servers.s3 import BUCKET, KEY, READER, READER_SECRET, S3, SECRET, Heard, Said
from tranship_movers.checks import CHECKS, Ground
from tranship_movers.contract import unheard
from tranship_movers.errors import (
    Busy,
    HostUnproven,
    LoginRefused,
    Mangled,
    Misconfigured,
    MoverError,
    NameRefused,
    Permanent,
    SourceChanged,
    Temporary,
    TimedOut,
    Unreachable,
)
from tranship_movers.options import options_of
from tranship_movers.place import Place
from tranship_movers.s3 import S3Mover, S3Options
from tranship_movers.s3.meanings import CODES, EXCEPTIONS, STATUS, ours
from tranship_movers.s3.options import MEANINGLESS
from tranship_movers.s3.parts import SPARE, Span, at_once, spans_of
from tranship_movers.s3.parts import Heard as HeardParts
from tranship_movers.temporary import new_token
from tranship_movers.transfer import download, upload

MIB = 1 << 20


@pytest.fixture(scope="module")
def seaweed() -> Iterator[S3]:
    with s3.seaweed() as server:
        yield server


@pytest.fixture(scope="module")
def rclone() -> Iterator[S3]:
    with s3.rclone() as server:
        yield server


@pytest.fixture(params=["seaweed", "rclone"])
def server(request: pytest.FixtureRequest) -> S3:
    """Each of the real servers."""
    found: S3 = request.getfixturevalue(request.param)
    return found


@pytest.fixture(autouse=True)
def nobodys_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test finds credentials that somebody has at home."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def mover(
    server: S3, /, bucket: str = BUCKET, *, port: int = 0, kind: type[S3Mover] = S3Mover, **options: object
) -> S3Mover:
    url = server.url.replace(str(server.port), str(port or server.port))
    told = {"endpoint_url": url, "key": KEY, "secret": SECRET, "timeout": "10 s", "part_size": "5 MiB"}
    return kind(Place.parse(f"s3://{bucket}/"), options_of(S3Options, told | options))


def written(path: Path, size: int) -> Path:
    path.write_bytes(random.randbytes(size))
    return path


def uploads(server: S3) -> list[str]:
    """The keys of multipart uploads that were begun and not ended."""
    found = server.client().list_multipart_uploads(Bucket=BUCKET)
    return [upload["Key"] for upload in found.get("Uploads", ())]


# The contract


@pytest.fixture
def seaweed_ground(seaweed: S3, tmp_path: Path) -> Ground:
    return Ground(lambda: mover(seaweed), "/promises", tmp_path, secret=SECRET)


@pytest.fixture
def rclone_ground(rclone: S3, tmp_path: Path) -> Ground:
    return Ground(lambda: mover(rclone), "/promises", tmp_path, secret=SECRET)


MUST = ("get-on", "download-mixed", "mtime", "checksums", "broken-off", "overwrite", "nothing-stale")
TestSeaweedPromises = suite("seaweed_ground", must=MUST)
TestRclonePromises = suite("rclone_ground", must=MUST)


# Large files


@pytest.mark.soak
def test_more_than_two_gibibytes_arrive_whole(seaweed: S3, tmp_path: Path) -> None:
    ground = Ground(lambda: mover(seaweed, timeout="60 s"), "/big", tmp_path, big=(2 << 30) + 1)
    assert next(check for check in CHECKS if check.word == "large").run(ground) == "holds"


def test_a_large_file_goes_and_comes_in_parts_and_takes_little_memory(seaweed: S3, tmp_path: Path) -> None:
    source, told = written(tmp_path / "large", 64 * MIB + 1), []
    line = mover(seaweed, max_concurrency=3)
    tracemalloc.start()
    try:
        line.put(source, "/large/one.dat", progress=told.append)
        line.get("/large/one.dat", tmp_path / "back", progress=told.append)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * 5 * MIB + 6 * MIB
    assert sum(told) == 2 * source.stat().st_size
    assert max(told) <= 256 * 1024
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert seaweed.client().head_object(Bucket=BUCKET, Key="large/one.dat")["ETag"].endswith('-13"')
    assert uploads(seaweed) == []


def test_a_large_object_that_came_in_one_piece_is_compared_too(seaweed: S3, tmp_path: Path) -> None:
    content = random.randbytes(11 * MIB)
    seaweed.client().put_object(Bucket=BUCKET, Key="whole.dat", Body=content)
    mover(seaweed).get("/whole.dat", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content


def test_a_small_object_that_was_put_in_parts_comes(seaweed: S3, tmp_path: Path) -> None:
    source = written(tmp_path / "source", 11 * MIB)
    mover(seaweed, part_size="5 MiB").put(source, "/in-parts.dat")
    mover(seaweed, part_size="16 MiB").get("/in-parts.dat", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("put_in", ["one piece", "parts of 5 MiB", "parts of 12 MiB"])
def test_a_download_that_was_cut_goes_on_and_is_compared_whole(
    put_in: str, seaweed: S3, tmp_path: Path
) -> None:
    source, target, token = written(tmp_path / "source", 36 * MIB), tmp_path / "down" / "large", new_token()
    key = f"/resumed/{put_in}.dat"
    if put_in == "one piece":
        seaweed.client().put_object(Bucket=BUCKET, Key=key[1:], Body=source.read_bytes())
    else:
        mover(seaweed, part_size=put_in.removeprefix("parts of ")).put(source, key)
    line = mover(seaweed, max_concurrency=1)
    assert line.powers.resumes == 10 * MIB
    told: list[int] = []

    def cut(size: int) -> None:
        told.append(size)
        if sum(told) > 25 * MIB:
            raise Unreachable("cut on purpose")

    with pytest.raises(Unreachable):
        download(line, key, target, token=token, progress=cut, now=lambda: time.time() + 10)
    told.clear()
    download(line, key, target, token=token, progress=told.append, now=lambda: time.time() + 10)
    assert sum(told) < 36 * MIB - 14 * MIB
    assert target.read_bytes() == source.read_bytes()
    part = tmp_path / "part"
    part.write_bytes(bytes(20 * MIB))
    with pytest.raises(Mangled, match="MD5"):
        line.get(key, part, offset=20 * MIB)


def test_no_part_runs_far_ahead_of_one_that_is_missing() -> None:
    begun, all_begun, before = set[int](), threading.Event(), set[int]()

    def act(span: Span) -> None:
        begun.add(span.number)
        if len(begun) == 100:
            all_begun.set()
        if span.number == 1:
            all_begun.wait(0.5)
            before.update(begun)

    at_once(act, spans_of(100, 1), HeardParts(unheard), threads=2)
    assert before == set(range(1, 2 + SPARE + 1))
    assert begun == set(range(1, 101))


def test_a_transfer_that_is_broken_off_leaves_no_parts(server: S3, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def progress(_: int) -> None:
        raise Enough

    with pytest.raises(Enough):
        mover(server).put(written(tmp_path / "large", 21 * MIB), "/broken.dat", progress=progress)
    assert uploads(server) == []
    assert mover(server).stat("/broken.dat") is None


def test_a_source_that_is_written_to_meanwhile_is_not_shown(seaweed: S3, tmp_path: Path) -> None:
    source = written(tmp_path / "growing", 41 * MIB)

    def progress(_: int) -> None:
        with source.open("ab") as file:
            file.write(b"more")

    with pytest.raises(SourceChanged):
        mover(seaweed, max_concurrency=1).put(source, "/growing.dat", progress=progress)
    assert uploads(seaweed) == []
    assert mover(seaweed).stat("/growing.dat") is None


def test_an_object_that_is_replaced_while_it_is_read_is_noticed(server: S3, tmp_path: Path) -> None:
    line, other = mover(server, max_concurrency=1), server.client()
    other.put_object(Bucket=BUCKET, Key="replaced.dat", Body=bytes(21 * MIB))
    replaced = threading.Event()

    def progress(_: int) -> None:
        if not replaced.is_set():
            replaced.set()
            other.put_object(Bucket=BUCKET, Key="replaced.dat", Body=b"1" * 21 * MIB)

    with pytest.raises(SourceChanged):
        line.get("/replaced.dat", tmp_path / "back", progress=progress)


def test_large_objects_are_renamed_in_parts(seaweed: S3, tmp_path: Path) -> None:
    class Small(S3Mover):
        copy_at_most = 5 * MIB

    source = written(tmp_path / "large", 11 * MIB)
    os.utime(source, ns=(1_500_000_000_123_456_789,) * 2)
    line = mover(seaweed, kind=Small, s3_additional_kwargs={"ContentType": "application/x-grib"})
    line.put(source, "/old.dat")
    line.rename("/old.dat", "/new name.dat")
    line.get("/new name.dat", tmp_path / "back")
    assert line.stat("/old.dat") is None
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert (tmp_path / "back").stat().st_mtime_ns == 1_500_000_000_123_456_789
    described = seaweed.client().head_object(Bucket=BUCKET, Key="new name.dat")
    assert described["ContentType"] == "application/x-grib"


# What others see, and what others put


def test_rclone_and_we_read_each_others_modification_times(server: S3, tmp_path: Path) -> None:
    def ran(*arguments: str) -> str:
        told = {
            "ENDPOINT": server.url,
            "ACCESS_KEY_ID": KEY,
            "SECRET_ACCESS_KEY": SECRET,
            "PROVIDER": "Other",
        }
        environment = {**os.environ, **{f"RCLONE_S3_{name}": value for name, value in told.items()}}
        program = str(Path(sys.executable).with_name("rclone"))
        command = [program, "--config", os.devnull, *arguments]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    source = written(tmp_path / "dated.dat", 10)
    os.utime(source, ns=(1_234_567_890_123_456_789,) * 2)
    mover(server).put(source, "/times/ours.dat")
    ran("copy", str(source), f":s3:{BUCKET}/times/theirs")
    listed = json.loads(ran("lsjson", f":s3:{BUCKET}/times/ours.dat"))
    assert listed[0]["ModTime"].startswith("2009-02-13T23:31:30.123456789")
    facts = mover(server).stat("/times/theirs/dated.dat")
    assert facts is not None
    assert facts.mtime_ns == 1_234_567_890_123_456_789


def test_an_object_of_somebody_who_told_no_time_has_that_of_its_storing(seaweed: S3) -> None:
    before = time.time()
    seaweed.client().put_object(Bucket=BUCKET, Key="foreign.dat", Body=b"x")
    facts = mover(seaweed).stat("/foreign.dat")
    assert facts is not None
    assert facts.mtime_ns is not None
    assert abs(facts.mtime_ns / 1e9 - before) < 5


def test_a_listing_of_several_pages_is_whole(server: S3, tmp_path: Path) -> None:
    line = mover(server, s3_additional_kwargs={"MaxKeys": "3"})
    names = {f"{number}.dat" for number in range(10)}
    for name in names:
        line.put(written(tmp_path / "listed", 3), f"/pages/{name}")
    line.put(written(tmp_path / "listed", 3), "/pages/below/inner.dat")
    found = list(line.list("/pages"))
    assert {facts.name for facts in found if not facts.is_folder} == names
    assert [facts.name for facts in found if facts.is_folder] == ["below"]
    assert len(found) == 11


def test_a_folder_has_facts_while_something_is_in_it(seaweed: S3, tmp_path: Path) -> None:
    line = mover(seaweed)
    line.put(written(tmp_path / "inner", 3), "/a/folder/inner.dat")
    for name in ("/a/folder", "/a/folder/", "/a", "/", ""):
        facts = line.stat(name)
        assert facts is not None
        assert facts.is_folder
    assert line.stat("/a/fold") is None


@pytest.mark.parametrize(
    "name", ["", "/", "/folder/", "/a/../b", "/./b", "/a\nb", "/a\0b", "/\udcff", "/" + "ä" * 513]
)
def test_names_that_can_t_be_are_refused(seaweed: S3, tmp_path: Path, name: str) -> None:
    with pytest.raises(NameRefused):
        mover(seaweed).put(written(tmp_path / "x", 1), name)


# Who may, and where


@pytest.mark.parametrize("wrong", [{"secret": "Wr0ng"}, {"key": "unknownkey"}])
def test_a_wrong_key_is_refused_at_the_door(server: S3, wrong: dict[str, str]) -> None:
    with pytest.raises(LoginRefused) as refused:
        mover(server, **wrong)
    assert not any(value in str(refused.value) for value in wrong.values())


def test_a_missing_bucket_pauses_the_place(server: S3) -> None:
    with pytest.raises(Misconfigured, match="NoSuchBucket"):
        mover(server, "no-such-bucket")


def test_who_may_only_read_can_t_write(seaweed: S3, tmp_path: Path) -> None:
    line = mover(seaweed, key=READER, secret=READER_SECRET)
    assert list(line.list("/none")) == []
    for size in (10, 6 * MIB):
        with pytest.raises(Permanent, match="AccessDenied"):
            line.put(written(tmp_path / "x", size), "/refused.dat")


def test_key_and_secret_may_stand_in_the_url_or_in_a_profile(seaweed: S3, tmp_path: Path) -> None:
    url = f"s3://{KEY}:{SECRET.replace('/', '%2F').replace('+', '%2B')}@{BUCKET}/"
    S3Mover(Place.parse(url), S3Options(endpoint_url=seaweed.url)).put(written(tmp_path / "x", 9), "/by-url")
    (tmp_path / "aws-credentials").write_text(
        f"[station]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )
    (tmp_path / "aws-config").write_text(f"[profile station]\nendpoint_url = {seaweed.url}\n")
    line = S3Mover(Place.parse(f"s3://{BUCKET}/"), S3Options(profile="station"))
    facts = line.stat("/by-url")
    assert facts is not None
    assert facts.size == 9


def test_without_a_signature_a_private_bucket_is_closed(seaweed: S3, tmp_path: Path) -> None:
    line = S3Mover(Place.parse(f"s3://{BUCKET}/"), S3Options(endpoint_url=seaweed.url, anon=True))
    with pytest.raises(Permanent, match="AccessDenied"):
        line.put(written(tmp_path / "x", 1), "/anonymous.dat")
    with pytest.raises(Permanent, match="AccessDenied"):
        line.stat("/anonymous.dat")


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("s3://bucket:9000/x", {}),
        ("s3:///x", {}),
        (f"s3://{BUCKET}/", {"profile": "no-such-profile"}),
        (f"s3://{BUCKET}/", {"key": "half-a-login"}),
        ("s3://UPPER_case!/", {"key": KEY, "secret": SECRET}),
        (f"s3://{BUCKET}/", {"key": KEY, "secret": SECRET, "s3_additional_kwargs": {"NoSuch": "1"}}),
        (f"s3://{BUCKET}/", {"key": KEY, "secret": SECRET, "s3_additional_kwargs": {"Key": "mine"}}),
    ],
)
def test_what_can_t_work_is_told_at_connecting(seaweed: S3, url: str, options: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        S3Mover(Place.parse(url), options_of(S3Options, {"endpoint_url": seaweed.url, **options}))


def test_without_any_credentials_the_login_is_refused(seaweed: S3) -> None:
    with pytest.raises(LoginRefused, match="no credentials"):
        S3Mover(Place.parse(f"s3://{BUCKET}/"), S3Options(endpoint_url=seaweed.url))


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_certificates_are_checked_unless_told_otherwise(tmp_path: Path) -> None:
    with s3.rclone(trustme.CA()) as server:
        with pytest.raises(HostUnproven):
            mover(server)
        source = written(tmp_path / "x", 6 * MIB)
        for verify in (str(server.authority), "False"):
            line = mover(server, verify=verify)
            for name, size in (("/large.dat", 6 * MIB), ("/small.dat", 1000)):
                upload(line, written(source, size), name)
                line.get(name, tmp_path / "back")
                assert (tmp_path / "back").read_bytes() == source.read_bytes()


# Options


@pytest.mark.parametrize(
    ("told", "means"),
    [
        ({"client_kwargs": {"endpoint_url": "http://h:1"}}, {"endpoint_url": "http://h:1"}),
        ({"client_kwargs": {"region_name": "eu"}}, {"region": "eu"}),
        ({"client_kwargs": {"verify": "False"}}, {"verify": False}),
        ({"client_kwargs": {"use_ssl": "false"}}, {"use_ssl": False}),
        ({"client_kwargs": {"aws_access_key_id": "k"}}, {"key": "k"}),
        ({"verify": False}, {"verify": False}),
        ({"verify": "/ca.pem"}, {"verify": Path("/ca.pem")}),
        ({"anon": "True"}, {"anon": True}),
        ({"requester_pays": "yes"}, {"requester_pays": True}),
        ({"default_block_size": "52428800"}, {"part_size": 50 * MIB}),
        ({"s3_multipart_chunksize": "8 MiB"}, {"part_size": 8 * MIB}),
        ({"max_concurrency": "7"}, {"max_concurrency": 7}),
        ({"profile": "p"}, {"profile": "p"}),
    ],
)
def test_the_keys_of_s3fs_and_trollmoves_are_known(told: dict[str, Any], means: dict[str, object]) -> None:
    options = options_of(S3Options, told)
    assert {key: getattr(options, key) for key in means} == means


@pytest.mark.parametrize(
    "key", [*MEANINGLESS, "client_kwargs", "client_kwargs.api", "config_kwargs.no_such", "no_such"]
)
def test_a_key_that_means_nothing_is_an_error_that_names_it(key: str) -> None:
    outer, _, inner = key.partition(".")
    with pytest.raises(Misconfigured, match=inner or outer):
        options_of(S3Options, {outer: {inner: "1"} if inner else "1"})


def test_one_thing_told_twice_differently_is_an_error() -> None:
    with pytest.raises(Misconfigured, match="contradicts"):
        options_of(S3Options, {"key": "a", "client_kwargs": {"aws_access_key_id": "b"}})


def test_no_option_shows_a_secret() -> None:
    told = {"secret": SECRET, "token": SECRET, "s3_additional_kwargs": {"SSECustomerKey": SECRET}}
    told["config_kwargs"] = {"proxies": {"https": f"http://me:{SECRET}@proxy"}}
    assert SECRET not in repr(options_of(S3Options, told))
    for wrong in ({"endpoint_url": f"https://me:{SECRET}@host"}, {"secret": {"of": SECRET}}):
        with pytest.raises(Misconfigured) as refused:
            options_of(S3Options, wrong)
        assert SECRET not in str(refused.value)


def test_what_is_told_beside_goes_with_the_requests_that_know_it(seaweed: S3, tmp_path: Path) -> None:
    told = {"ContentType": "application/x-bufr", "Metadata": {"station": "nordby"}}
    line = mover(seaweed, s3_additional_kwargs=told)
    for size in (10, 6 * MIB):
        line.put(written(tmp_path / "x", size), f"/typed-{size}.dat")
        described = seaweed.client().head_object(Bucket=BUCKET, Key=f"typed-{size}.dat")
        assert described["ContentType"] == "application/x-bufr"
        assert described["Metadata"]["station"] == "nordby"
        assert "mtime" in described["Metadata"]


def test_boto_s_own_checksums_can_be_asked_for(seaweed: S3, tmp_path: Path) -> None:
    both = dict.fromkeys(("request_checksum_calculation", "response_checksum_validation"), "when_supported")
    line, told = mover(seaweed, **both), []
    for size in (0, 10, 6 * MIB):
        source = written(tmp_path / "x", size)
        line.put(source, "/crc.dat", progress=told.append)
        line.get("/crc.dat", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert sum(told) == 10 + 6 * MIB


def test_config_kwargs_reach_botocore_but_not_past_the_deadline(seaweed: S3, tmp_path: Path) -> None:
    told = {"read_timeout": "3600", "connect_timeout": "1", "s3": {"addressing_style": "path"}}
    line = mover(seaweed, config_kwargs=told)
    config = line._bucket.client.meta.config
    assert (config.read_timeout, config.connect_timeout) == (10, 1)
    line.put(written(tmp_path / "x", 10), "/configured.dat")
    assert line.stat("/configured.dat") is not None


# Faults of the line


def test_a_line_that_is_cut_once_is_no_failure(seaweed: S3, tmp_path: Path) -> None:
    source, cut = written(tmp_path / "large", 21 * MIB), threading.Event()
    with Proxy(Route(("127.0.0.1", seaweed.port))) as proxy:
        line = mover(seaweed, port=proxy.port)

        told: list[int] = []

        def progress(more: int) -> None:
            told.append(more)
            if not cut.is_set():
                cut.set()
                proxy.reset_all()

        for name in ("/cut-once.dat", "/cut-small.dat"):
            line.put(source, name, progress=progress)
            line.get(name, tmp_path / "back")
            assert (tmp_path / "back").read_bytes() == source.read_bytes()
            assert sum(told) == source.stat().st_size
            written(source, 3 * MIB)
            told.clear()
            cut.clear()
    assert uploads(seaweed) == []


@pytest.mark.parametrize("size", [100_000, 12 * MIB])
@pytest.mark.parametrize("kind", ["reset", "cut"])
def test_a_line_that_is_cut_again_and_again_is_told(
    seaweed: S3, tmp_path: Path, kind: Any, size: int
) -> None:
    source = written(tmp_path / "source", size)
    with Proxy(Route(("127.0.0.1", seaweed.port))) as proxy:
        line = mover(seaweed, port=proxy.port, timeout="2 s")
        proxy.fault = Fault(kind, at=70_000)
        proxy.reset_all()
        with pytest.raises(Unreachable):
            line.put(source, f"/cut-{kind}-{size}.dat")
        assert mover(seaweed).stat(f"/cut-{kind}-{size}.dat") is None
        assert uploads(seaweed) == []
        proxy.fault = Fault()
        line.put(source, f"/cut-{kind}-{size}.dat")


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("act", ["put", "get", "put small"])
def test_a_line_that_swallows_everything_is_given_up_in_time(
    seaweed: S3, tmp_path: Path, act: str, direction: Any
) -> None:
    source = written(tmp_path / "source", 1000 if "small" in act else 6 * MIB)
    mover(seaweed).put(source, "/hole.dat")
    with Proxy(Route(("127.0.0.1", seaweed.port))) as proxy:
        line = mover(seaweed, port=proxy.port, timeout="1 s")
        proxy.fault = Fault("black hole", at=10, direction=direction)
        proxy.reset_all()
        begun = time.monotonic()
        with pytest.raises((TimedOut, Unreachable)):
            line.get("/hole.dat", tmp_path / "back") if act == "get" else line.put(source, "/hole.dat")
        assert time.monotonic() - begun < 2.5
        begun = time.monotonic()
        assert not line.alive()
        assert time.monotonic() - begun < 1


def test_nobody_there_is_told_at_once(tmp_path: Path) -> None:
    port = free_port()
    begun = time.monotonic()
    with pytest.raises(Unreachable, match="refuses"):
        mover(S3("nobody", port))
    assert time.monotonic() - begun < 1


# Faults of the place


DATED = {"Last-Modified": "Fri, 13 Feb 2009 23:31:30 GMT"}
EMPTY = Said(200, b"<ListBucketResult></ListBucketResult>")


class Script:
    """What a scripted place says. Logging in always works; a test tells the rest."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.says: Callable[[Heard], Said] = lambda _: Said(404)

    def __call__(self, heard: Heard) -> Said:
        if heard.method == "GET" and "list-type=2" in heard.path:
            return EMPTY
        self.heard.append(heard)
        return self.says(heard)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def place(script: Script) -> Iterator[S3]:
    with s3.scripted(script) as server:
        yield server


def test_each_word_and_status_has_its_meaning(place: S3, script: Script, tmp_path: Path) -> None:
    class Hasty(S3Mover):
        pauses = ()

    line = mover(place, kind=Hasty)
    for status, code, becomes in [
        *((400, code, becomes) for code, becomes in CODES.items()),
        *((status, "SomethingNew", becomes) for status, becomes in STATUS.items()),
        *((status, "SomethingNew", Permanent) for status in (400, 403, 405, 411, 413, 422)),
        *((status, "SomethingNew", Temporary) for status in (500, 505, 599)),
    ]:
        said = Said.error(status, code)
        script.says = lambda _, said=said: said
        with pytest.raises(MoverError) as raised:
            line.get("/x", tmp_path / "x")
        assert type(raised.value) is becomes, f"{status} {code} gave {raised.value!r}"
        assert code in str(raised.value) or "elsewhere" in str(raised.value)
        assert f"s3://{BUCKET}/x" in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "becomes", "reason"), EXCEPTIONS, ids=lambda row: getattr(row, "__name__", "")
)
def test_each_exception_of_boto_has_its_meaning(
    kind: type[Exception], becomes: type[MoverError], reason: str
) -> None:
    class Anything(dict[str, str]):
        def __missing__(self, key: str) -> str:
            return f"some {key}"

    fields = {key: f"some {key}" for key in ("msg", "path", "profile", "provider", "cred_var", "error_msg")}
    fields |= {key: f"some {key}" for key in ("region_name", "endpoint_url", "proxy_url", "report", "error")}
    fields |= {key: f"some {key}" for key in ("s3_addressing_style", "signature_version")}
    error = kind(**fields) if issubclass(kind, exceptions.BotoCoreError) else kind("some text")
    found = ours(error)
    assert type(found) is becomes
    assert found is not None
    assert found.reason == (reason or str(error))


def test_an_exception_that_nobody_foresaw_is_seen() -> None:
    assert ours(exceptions.WaiterConfigError(error_msg="never heard of")) is None


@pytest.mark.parametrize("size", [10_000, 6 * MIB])
def test_a_busy_place_is_asked_again(place: S3, script: Script, tmp_path: Path, size: int) -> None:
    busy = iter([Said.error(503, "SlowDown"), Said.error(503, "SlowDown")])

    def says(heard: Heard) -> Said:
        if heard.method == "PUT":
            return next(busy, None) or Said(200, headers={"ETag": hashlib.md5(heard.body).hexdigest()})
        if heard.method == "POST" and "uploadId" in heard.path:
            return Said(
                200, b"<CompleteMultipartUploadResult><ETag>opaque</ETag></CompleteMultipartUploadResult>"
            )
        if heard.method == "POST":
            created = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
            return Said(200, created)
        if heard.method == "HEAD":
            return Said(200, headers={"Content-Length": str(size), "ETag": "opaque", **DATED})
        return Said.error(501, "NotImplemented")

    script.says = says
    mover(place).put(written(tmp_path / "x", size), "/busy.dat")
    assert sum(heard.method == "PUT" for heard in script.heard) >= 3


def test_a_place_that_stays_busy_is_told_so(place: S3, script: Script, tmp_path: Path) -> None:
    script.says = lambda _: Said.error(503, "SlowDown")
    with pytest.raises(Busy):
        mover(place).put(written(tmp_path / "x", 10), "/busy.dat")


def test_bytes_that_changed_on_the_way_are_noticed(place: S3, script: Script, tmp_path: Path) -> None:
    headers = {
        "ETag": f'"{hashlib.md5(b"others").hexdigest()}"',
        "Last-Modified": "Fri, 13 Feb 2009 23:31:30 GMT",
    }
    script.says = lambda heard: Said(200, b"ours" if heard.method == "GET" else b"", headers)
    with pytest.raises(Mangled):
        mover(place).put(written(tmp_path / "x", 10), "/changed.dat")
    with pytest.raises(Mangled):
        mover(place).get("/changed.dat", tmp_path / "x")
    mover(place, etag="opaque").get("/changed.dat", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"ours"


def test_a_large_object_that_changed_on_the_way_is_noticed(place: S3, script: Script, tmp_path: Path) -> None:
    content = random.randbytes(11 * MIB)

    def says(heard: Heard) -> Said:
        headers = {"ETag": f'"{hashlib.md5(b"others").hexdigest()}"', **DATED}
        start, _, end = heard.headers.get("Range", "").removeprefix("bytes=").partition("-")
        if not end:
            return Said(200, content, headers)
        return Said(206, content[int(start) : int(end) + 1], headers)

    script.says = says
    with pytest.raises(Mangled):
        mover(place).get("/changed.dat", tmp_path / "x")
    mover(place, checksum="none").get("/changed.dat", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == content


def test_without_an_md5_the_size_is_compared(place: S3, script: Script, tmp_path: Path) -> None:
    def says(heard: Heard) -> Said:
        length = {"Content-Length": "9", **DATED} if heard.method == "HEAD" else {}
        return Said(200, headers={"ETag": "opaque", **length})

    script.says = says
    mover(place).put(written(tmp_path / "x", 9), "/opaque.dat")
    with pytest.raises(Mangled, match="9 bytes arrived of 10"):
        mover(place).put(written(tmp_path / "x", 10), "/opaque.dat")


def test_a_lost_last_reply_is_no_failure(place: S3, script: Script, tmp_path: Path) -> None:
    sums: dict[str, bytes] = {}

    def says(heard: Heard) -> Said:
        if heard.method == "PUT":
            sums[heard.path] = hashlib.md5(heard.body).digest()
            return Said(200, headers={"ETag": sums[heard.path].hex()})
        if heard.method == "POST" and "uploadId" in heard.path:
            raise ConnectionResetError
        if heard.method == "POST":
            created = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
            return Said(200, created)
        if heard.method == "GET":
            return Said.error(501, "NotImplemented")
        joined = hashlib.md5(b"".join(sums[path] for path in sorted(sums))).hexdigest()
        return Said(200, headers={"Content-Length": "11000000", "ETag": f'"{joined}-{len(sums)}"', **DATED})

    script.says = says
    mover(place, timeout="1 s").put(written(tmp_path / "x", 11_000_000), "/lost.dat")
    assert not any(heard.method == "DELETE" for heard in script.heard)


CUT_HEADS = {
    "list": b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n",
    "stat": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n",
    "get": b"HTTP/1.1 200 OK\r\nETag: x\r\n",
    "large put": b"HTTP/1.1 200 OK\r\n",
}


@pytest.mark.parametrize("act", CUT_HEADS)
def test_an_answer_that_is_cut_in_its_head_is_none(tmp_path: Path, act: str) -> None:
    """An empty listing, a file without a date: http.client takes the end of the line for the end of the head."""
    source, begun = written(tmp_path / "source", 6 * MIB), threading.Event()

    def answer(heard: scripted.Heard) -> bytes:
        if not begun.is_set():
            return scripted.reply(200, EMPTY.body)
        return CUT_HEADS[act] + scripted.HANG_UP

    acts: dict[str, Callable[[S3Mover], object]] = {
        "list": lambda line: list(line.list("/in")),
        "stat": lambda line: line.stat("/in/x"),
        "get": lambda line: line.get("/in/x", tmp_path / "got"),
        "large put": lambda line: line.put(source, "/in/x"),
    }
    with scripted.Scripted(answer) as server:
        line = mover(S3("cut", server.port), timeout="1 s")
        begun.set()
        with pytest.raises(Unreachable):
            acts[act](line)


def test_uploads_abandoned_long_ago_are_cleared_away(place: S3, script: Script, tmp_path: Path) -> None:
    when = "<Upload><Key>in/{0}</Key><UploadId>{0}</UploadId><Initiated>{1}</Initiated></Upload>"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    listed = when.format("young", now) + when.format("old", "2001-01-01T00:00:00Z")

    def says(heard: Heard) -> Said:
        if heard.method == "GET":
            return Said(200, f"<ListMultipartUploadsResult>{listed}</ListMultipartUploadsResult>".encode())
        return Said(204) if heard.method == "DELETE" else Said.error(403, "AccessDenied")

    script.says = says
    with pytest.raises(Permanent):
        mover(place).put(written(tmp_path / "x", 6 * MIB), "/in/next.dat")
    removed = [heard.path for heard in script.heard if heard.method == "DELETE"]
    assert removed == [f"/{BUCKET}/in/old?uploadId=old"]


def test_a_web_page_is_no_place() -> None:
    page = Said(200, b"<html><body>please log in<br></body>")
    with s3.scripted(lambda _: page) as portal, pytest.raises(Temporary):
        mover(portal)


def test_who_pays_is_told(place: S3, script: Script, tmp_path: Path) -> None:
    script.says = lambda _: Said(200, headers={"ETag": hashlib.md5(b"").hexdigest()})
    mover(place, requester_pays=True).put(written(tmp_path / "x", 0), "/paid.dat")
    headers = {name.lower(): value for name, value in script.heard[-1].headers.items()}
    assert headers["x-amz-request-payer"] == "requester"


# Secrets


def test_no_secret_stands_in_a_log(seaweed: S3, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def spoken() -> str:
        caplog.clear()
        for secret in (SECRET, "Wr0ng-Pl4nted"):
            try:
                line = mover(seaweed, secret=secret)
                for size in (10, 6 * MIB):
                    upload(line, written(tmp_path / "x", size), "/logged.dat")
                line.get("/logged.dat", tmp_path / "back")
            except LoginRefused:
                continue
        with pytest.raises(MoverError):
            mover(seaweed, token="Sess10n-T0ken")
        return caplog.text

    botocore = logging.getLogger("botocore")
    caplog.set_level(logging.DEBUG)
    for level in (logging.NOTSET, logging.DEBUG):
        botocore.setLevel(level)
        try:
            told = spoken()
        finally:
            botocore.setLevel(logging.NOTSET)
        assert SECRET not in told
        assert "Wr0ng-Pl4nted" not in told
        # Session tokens stand in botocore's DEBUG log, which is shut unless somebody opens it by its name.
        assert ("Sess10n-T0ken" in told) == (level == logging.DEBUG)
