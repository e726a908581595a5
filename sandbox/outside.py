"""What is outside, as the settings name it, built for this installation: upstreams, and links to what it serves."""

import secrets
from dataclasses import dataclass

from sandbox.config import Settings
from sandbox.kept import load_or_make
from sandbox.upstreams.base import Upstreams
from sandbox.upstreams.build import build_upstreams
from sandbox.upstreams.links import LinkSigner
from sandbox.upstreams.objects_local import LocalObjects


@dataclass(slots=True)
class Address:
    """Where clients reach this server; known for certain once it listens."""

    url: str


@dataclass(frozen=True, slots=True)
class Outside:
    """`address` is written into links, which `links` signs."""

    upstreams: Upstreams
    links: LinkSigner
    address: Address


def make_outside(settings: Settings) -> Outside:
    """Make all that are configured; nothing is connected yet.

    Raises:
        ConfigurationError: `data_dir` cannot be used.
    """
    address = Address(settings.url)
    key, _ = load_or_make(settings.data_dir / "link_key", lambda: secrets.token_hex(32))
    links = LinkSigner(key.encode())

    def local() -> LocalObjects:
        return LocalObjects(
            settings.data_dir / "objects",
            links,
            base_url=lambda: address.url,
            link_s=settings.object_link_s,
            keep_s=settings.object_keep_s,
            max_bytes=settings.object_store_max_bytes,
        )

    return Outside(build_upstreams(settings, local), links, address)
