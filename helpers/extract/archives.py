"""Zip archives that unpack to far more than they are: found before anything is unpacked."""

import zipfile
from collections.abc import Sequence

from .unreadable import Unreadable

MEMBERS_MAX = 20_000
UNPACKED_MAX_BYTES = 1024 * 1024 * 1024
RATIO_MAX = 200
RATIO_FROM_BYTES = 16 * 1024 * 1024

_ENCRYPTED = 0x1


def must_be_sane(members: Sequence[zipfile.ZipInfo]) -> None:
    """Check what an archive says about itself; a member never gives more than it says.

    Raises:
        Unreadable: it is encrypted, has too many members, or unpacks to too much.
    """
    if len(members) > MEMBERS_MAX:
        raise Unreadable(f"has {len(members)} parts inside; the limit is {MEMBERS_MAX}")
    unpacked = sum(member.file_size for member in members)
    if unpacked > UNPACKED_MAX_BYTES:
        raise Unreadable(f"unpacks to {unpacked} bytes; the limit is {UNPACKED_MAX_BYTES}")
    for member in members:
        if member.flag_bits & _ENCRYPTED:
            raise Unreadable("is encrypted: save it without a password")
        if member.file_size > max(RATIO_FROM_BYTES, RATIO_MAX * member.compress_size):
            raise Unreadable(f"unpacks to more than {RATIO_MAX} times its size, as a zip bomb does")
