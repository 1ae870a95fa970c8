"""S3 and what speaks like it (SeaweedFS, MinIO, Ceph, rclone, …), by boto3's engine, botocore.

Places are `s3://bucket/key`, at any endpoint. An object appears whole or not at all, so nothing needs a
temporary name; a folder is no more than a part of the key. Size and checksum of what is put or got are
compared on the way (Content-MD5 and ETag). A large file goes in parts, several at once; if one fails, none is
left.
"""

from tranship_movers.s3.mover import S3Mover
from tranship_movers.s3.options import S3Options

__all__ = ["S3Mover", "S3Options"]
