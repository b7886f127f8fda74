"""Write the schemas that KubeRay's resources are checked by: `python write_kuberay_schemas.py FOLDER`.

FOLDER is `ray-operator/config/crd/bases` of github.com/ray-project/kuberay at the tag of `KUBERAY`. What is kept is
the schema of version v1 without descriptions, which are nine tenths of it.
"""

import json
import lzma
import sys
from pathlib import Path
from typing import Any

import yaml

KUBERAY = "1.7.0"
SCHEMAS = Path(__file__).with_name(f"kuberay-{KUBERAY}.json.xz")
FILES = {"RayCluster": "ray.io_rayclusters.yaml", "RayJob": "ray.io_rayjobs.yaml"}


def strict(schema: Any) -> Any:
    """A schema of Kubernetes as one of JSON that refuses unknown fields, as `kubectl apply` does."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    kept = {
        key: {name: strict(one) for name, one in value.items()} if key == "properties" else strict(value)
        for key, value in schema.items()
        if key not in ("description", "default", "format") and not key.startswith("x-kubernetes")
    }
    if "properties" in kept and not schema.get("x-kubernetes-preserve-unknown-fields"):
        kept["additionalProperties"] = False
    return kept


def main(folder: Path) -> None:
    """Read the definitions and write the schemas."""
    schemas = {}
    for kind, name in FILES.items():
        versions = yaml.safe_load((folder / name).read_text(encoding="utf-8"))["spec"]["versions"]
        (found,) = [one["schema"]["openAPIV3Schema"] for one in versions if one["name"] == "v1"]
        found["properties"]["metadata"]["x-kubernetes-preserve-unknown-fields"] = True
        schemas[kind] = strict(found)
    SCHEMAS.write_bytes(lzma.compress(json.dumps(schemas, sort_keys=True).encode(), preset=9))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
