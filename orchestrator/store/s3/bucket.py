"""Bucket: where the objects of a store lie, and the requests that its transfers share."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from orchestrator.store.location import StoreLocation
from orchestrator.store.s3.client import S3Client, bucket_and_prefix, s3_errors
from orchestrator.store.s3.objects import S3Objects

NO_OBJECT = 404


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A bucket, and the prefix in it below which all keys lie."""

    client: S3Client
    name: str
    prefix: str
    """Empty, or with a slash at its end."""
    location: StoreLocation

    def object(self, key: str) -> dict[str, str]:
        """Arguments of boto3 that name the object `key`, which lies below the prefix."""
        return {"Bucket": self.name, "Key": self.prefix + key}

    @cached_property
    def objects(self) -> S3Objects:
        """Its objects, to be listed and deleted."""
        return S3Objects(self.client, self.name, self.prefix, self.location)

    def url(self, key: str) -> str:
        """The URL of an object, for people."""
        return self.objects.where(key)

    def errors(self, key: str) -> AbstractContextManager[None]:
        """Raises boto3's errors of the block as ours, which name the object `key`."""
        return s3_errors(self.location, key)

    def head(self, key: str) -> Mapping[str, Any] | None:
        """Size and metadata of an object; None: there is none."""
        with self.errors(key):
            try:
                return dict(self.client.head_object(**self.object(key)))
            except ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == NO_OBJECT:
                    return None
                raise


def bucket_of(location: StoreLocation) -> Bucket:
    """The bucket of a store, with a client of its own; nothing is asked yet."""
    name, prefix = bucket_and_prefix(location)
    return Bucket(client=S3Client(location), name=name, prefix=prefix, location=location)
