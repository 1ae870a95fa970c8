"""What stands under `connection_parameters` of a chain reaches the mover, whatever Trollmoves calls it."""

import asyncio
import random
from pathlib import Path

from rig import rig, until

from servers import s3, ssh
from tranship.core.journey import Step


def test_parameters_in_trollmoves_words_reach_their_movers(tmp_path: Path) -> None:
    """A chain for two movers: s3fs' tables for a real S3, Trollmoves' key file for a real scp."""
    content = random.randbytes(400_000)

    async def main(objects: s3.S3, host: ssh.Ssh) -> None:
        parameters = {
            "client_kwargs": {
                "endpoint_url": objects.url,
                "aws_access_key_id": s3.KEY,
                "aws_secret_access_key": s3.SECRET,
                "verify": False,
            },
            "config_kwargs": {"s3": {"addressing_style": "path"}},
            "s3_additional_kwargs": {"ContentType": "application/x-hrit", "Metadata": {"station": "nordby"}},
            "default_block_size": str(5 << 20),
            "ssh_key_filename": str(host.key),
            "ssh_connection_timeout": 20,
            "known_hosts": str(host.known_hosts),
        }
        async with rig(tmp_path) as site:
            there = f"{host.host}:{host.port}{host.root}/"
            allowed = [f"s3://{s3.BUCKET}/**", f"scp://{there}**"]
            server = await site.server(allow=allowed, connection_parameters=parameters)
            await site.client(1, destination=f"s3://{s3.BUCKET}/in/")
            await site.client(2, destination=f"scp://{there}", login=f"{host.user}:")
            site.drop("a.dat", content)
            for scheme in ("s3", "scp"):
                await until(
                    lambda scheme=scheme: [
                        told for _, told in server.story.of(Step.MOVED) if str(told["to"]).startswith(scheme)
                    ],
                    f"moved by {scheme}",
                )

    with s3.rclone() as objects, ssh.asyncsshd() as host:
        asyncio.run(main(objects, host))
        told = objects.client().get_object(Bucket=s3.BUCKET, Key="in/a.dat")
        assert told["Body"].read() == content
        assert told["ContentType"] == "application/x-hrit"
        assert "nordby" in told["Metadata"].values()
        assert (host.folder / "a.dat").read_bytes() == content
