"""Objects in S3 or a compatible service. The one module that knows boto3, which blocks: every call is in a thread."""

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from pydantic import SecretStr

from sandbox.errors import UpstreamError, UpstreamRefused, UpstreamUnavailable
from sandbox.limits import MIB
from sandbox.upstreams.base import OnProgress, StoredObject, UploadLink
from sandbox.upstreams.object_keys import check_key

T = TypeVar("T")

PART_BYTES: Final = 8 * MIB
"""One part of an upload; two of them are in memory at most."""

_CONNECT_S: Final = 10
_READ_S: Final = 60
_NO_BUCKET: Final = frozenset({"404", "NoSuchBucket", "NotFound"})
"""Objects are only put, so that nothing else can be missing; to a question without a body only the status answers."""


class S3Objects:
    """Stores objects in a bucket under a prefix; links are presigned.

    `endpoint_url` None: AWS. `access_key_id` None: as the SDK finds credentials. `link_s`: seconds for which a link
    works.
    """

    name = "objects (S3)"

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str,
        endpoint_url: str | None,
        region: str | None,
        access_key_id: SecretStr | None,
        secret_access_key: SecretStr | None,
        link_s: int,
    ) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._endpoint_url = endpoint_url
        self._region = region
        self._access_key_id = access_key_id
        self._secret_access_key = secret_access_key
        self._link_s = link_s
        self._uploading = ThreadPoolExecutor(8, thread_name_prefix="s3")
        # What is done in a moment does not wait behind uploads, which take as long as their sandboxes do.
        self._asking = ThreadPoolExecutor(2, thread_name_prefix="s3-links")
        self._making = threading.Lock()
        self._made: Any = None

    async def check(self) -> str:
        """Say that the bucket can be reached. Raises `UpstreamError`."""
        await self._thread(lambda s3: s3.head_bucket(Bucket=self._bucket))
        return f"bucket {self._bucket} answers"

    async def put(
        self, key: str, data: AsyncIterable[bytes], *, content_type: str, on_progress: OnProgress | None = None
    ) -> StoredObject:
        """Store an object. See `Objects.put`."""
        reader = _Reader(data, asyncio.get_running_loop(), on_progress)

        def upload(s3: Any) -> None:
            s3.upload_fileobj(
                reader,
                self._bucket,
                self._prefix + check_key(key),
                ExtraArgs={"ContentType": content_type},
                Config=TransferConfig(
                    multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False
                ),
            )

        try:
            await self._thread(upload, self._uploading)
        finally:
            reader.stop()
        return await self._stored(key, reader.size, content_type)

    async def upload_link(self, key: str, *, md5: str) -> UploadLink:
        """Give a presigned link. The type of the object is the one that the upload names; its MD5 is not checked."""
        del md5
        full = {"Bucket": self._bucket, "Key": self._prefix + check_key(key)}
        url = await self._thread(lambda s3: s3.generate_presigned_url("put_object", full, ExpiresIn=self._link_s))
        return UploadLink(full["Key"], str(url))

    async def aclose(self) -> None:
        """Let go of connections and threads."""
        for threads in (self._uploading, self._asking):
            threads.shutdown(wait=False, cancel_futures=True)
        if self._made is not None:
            self._made.close()

    async def _stored(self, key: str, size: int, content_type: str) -> StoredObject:
        full = {"Bucket": self._bucket, "Key": self._prefix + key}
        url = await self._thread(lambda s3: s3.generate_presigned_url("get_object", full, ExpiresIn=self._link_s))
        return StoredObject(
            key=key,
            location=self._prefix + key,
            url=str(url),
            size=size,
            content_type=content_type,
            expires_at=datetime.now(UTC) + timedelta(seconds=self._link_s),
        )

    async def _thread(self, do: Callable[[Any], T], threads: ThreadPoolExecutor | None = None) -> T:
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(threads or self._asking, lambda: do(self._client()))
        except NoCredentialsError:
            raise UpstreamRefused(
                "S3: no credentials were found", suggested_fix="Set s3_access_key_id and s3_secret_access_key."
            ) from None
        except ClientError as error:
            raise _refusal(error, self._bucket) from None
        except (BotoCoreError, Boto3Error, OSError) as error:
            raise UpstreamUnavailable(f"S3 does not answer: {_words(error)}") from None

    def _client(self) -> Any:
        with self._making:
            if self._made is None:
                # Newer releases add checksums that not every compatible service knows.
                config = Config(
                    connect_timeout=_CONNECT_S,
                    read_timeout=_READ_S,
                    retries={"max_attempts": 3, "mode": "standard"},
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    signature_version="s3v4",
                )
                self._made = boto3.session.Session().client(
                    "s3",
                    endpoint_url=self._endpoint_url,
                    region_name=self._region,
                    aws_access_key_id=_open(self._access_key_id),
                    aws_secret_access_key=_open(self._secret_access_key),
                    config=config,
                )
            return self._made


class _Reader:
    """What comes on the event loop, as a file that a thread reads; it fails when nobody waits for it any more."""

    def __init__(
        self, data: AsyncIterable[bytes], loop: asyncio.AbstractEventLoop, on_progress: OnProgress | None
    ) -> None:
        self.size = 0
        self._data: AsyncIterator[bytes] = aiter(data)
        self._loop = loop
        self._on_progress = on_progress
        self._rest = b""
        self._coming: Future[bytes | None] | None = None
        self._stopped = False

    def read(self, count: int = -1) -> bytes:
        """Give up to `count` bytes; fewer only at the end."""
        pieces, length = [self._rest], len(self._rest)
        while count < 0 or length < count:
            piece = self._next()
            if piece is None:
                break
            pieces.append(piece)
            length += len(piece)
        whole = b"".join(pieces)
        end = len(whole) if count < 0 else count
        self._rest = whole[end:]
        return whole[:end]

    def stop(self) -> None:
        """From now on reading fails, so that an upload nobody waits for ends."""
        self._stopped = True
        if self._coming is not None:
            self._coming.cancel()

    def _next(self) -> bytes | None:
        if self._stopped:
            raise OSError("the upload was given up")
        self._coming = asyncio.run_coroutine_threadsafe(self._advance(), self._loop)
        if self._stopped:  # in the same moment, in which there was nothing to cancel yet
            self._coming.cancel()
        try:
            return self._coming.result()
        except CancelledError:
            raise OSError("the upload was given up") from None

    async def _advance(self) -> bytes | None:
        async for piece in self._data:
            self.size += len(piece)
            if self._on_progress is not None:
                self._on_progress(self.size, None)
            return piece
        return None


def _open(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def _refusal(error: ClientError, bucket: str) -> UpstreamError:
    answer = error.response.get("Error", {})
    code, words = str(answer.get("Code", "")), str(answer.get("Message", ""))[:300]
    if code in _NO_BUCKET:
        return UpstreamRefused(f"S3 has no bucket {bucket!r}", suggested_fix="Correct s3_bucket.")
    if code in ("SlowDown", "ServiceUnavailable", "InternalError", "503", "500"):
        return UpstreamUnavailable(f"S3 could not do it now: {code} {words}")
    return UpstreamRefused(f"S3 refused: {code} {words}".rstrip())


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
