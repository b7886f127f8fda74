"""Bucket: where the objects of a store lie, and the requests that its transfers share."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from orchestrator.store.location import StoreLocation
from orchestrator.store.s3.client import s3_errors

NO_OBJECT = 404


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A bucket, and the prefix in it below which all keys lie."""

    client: Any
    """Of boto3."""
    name: str
    prefix: str
    """Empty, or with a slash at its end."""
    location: StoreLocation

    def object(self, key: str) -> dict[str, str]:
        """Arguments of boto3 that name the object `key`, which lies below the prefix."""
        return {"Bucket": self.name, "Key": self.prefix + key}

    def url(self, key: str) -> str:
        """The URL of an object, for people."""
        return f"s3://{self.name}/{self.prefix}{key}"

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

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """(key, bytes) of the objects whose keys begin with `prefix`, sorted by key; one request for each thousand."""
        with self.errors(prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=self.prefix + prefix)
            for page in pages:
                for one in page.get("Contents", ()):
                    yield one["Key"].removeprefix(self.prefix), one["Size"]
