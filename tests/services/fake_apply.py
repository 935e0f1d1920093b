"""Server-side apply, as an API server does it: who owns which field, conflicts, and what a manager no longer applies goes.

Read in Kubernetes' sources: structured-merge-diff's merge/update.go, apimachinery/pkg/util/managedfields/internal/conflict.go (the
words of a conflict), and https://kubernetes.io/docs/reference/using-api/server-side-apply/. Lists are atomic but for those that the
CRD of the InferenceService declares as maps: env, by name.
"""

import copy

MAPS = {"env": "name"}  # lists whose items are told apart by a field
NOT_OWNED = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")}


class Conflicts(Exception):  # noqa: N818 - as mynah.core.errors has it
    """[(manager, operation, path)] of what others own and would be changed."""

    def __init__(self, found):
        super().__init__(found)
        self.found = found


def leaves(value, path=()):
    """The path of everything in an object that has an owner."""
    if isinstance(value, dict) and value:
        return {leaf for key, part in value.items() for leaf in leaves(part, (*path, key))} - NOT_OWNED
    if path and path[-1] in MAPS and isinstance(value, list):
        key = MAPS[path[-1]]
        return {leaf for item in value for leaf in leaves(item, (*path, (key, item[key]))) if leaf[-1] != key}
    return {path}


def get(value, path):
    for key in path:
        if isinstance(key, tuple):
            value = next((item for item in value or [] if item[key[0]] == key[1]), None)
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


def put(value, path, new):
    *way, last = path
    for number, key in enumerate(way):
        if isinstance(key, tuple):
            found = next((item for item in value if item[key[0]] == key[1]), None)
            if found is None:
                found = {key[0]: key[1]}
                value.append(found)
            value = found
        else:
            value = value.setdefault(key, [] if isinstance(path[number + 1], tuple) else {})
    value[last] = copy.deepcopy(new)


def remove(value, path):
    """Remove a leaf, and what is empty without it."""
    key, *rest = path
    child = get(value, (key,))
    if rest and child is not None:
        remove(child, rest)
        if child and not (isinstance(key, tuple) and set(child) == {key[0]}):
            return
    if isinstance(key, tuple):
        value[:] = [item for item in value if item is not child]
    else:
        value.pop(key, None)


def apply(live, config, manager, owners, force):
    """(object, owners) after `manager` applied `config`; owners: (manager, operation) to a set of paths. Raises Conflicts."""
    mine, wanted = (manager, "Apply"), leaves(config)
    owners = {who: set(paths) for who, paths in owners.items()}
    conflicts = [
        (*who, path)
        for who, paths in sorted(owners.items())
        for path in sorted(paths & wanted, key=str)
        if who != mine and get(live, path) != get(config, path)
    ]
    if conflicts and not force:
        raise Conflicts(conflicts)
    for *who, path in conflicts:
        owners[tuple(who)].discard(path)
    then = copy.deepcopy(live)
    others = set().union(*(paths for who, paths in owners.items() if who != mine))
    for path in sorted(owners.get(mine, set()) - wanted - others, key=str):
        remove(then, path)
    for path in sorted(wanted, key=str):
        put(then, path, get(config, path))
    owners[mine] = wanted
    return then, {who: paths for who, paths in owners.items() if paths}


def updated(live, then, manager, owners):
    """The owners after `manager` changed `live` to `then` by an update or a patch: what changed is its own from now on."""
    before, after = leaves(live), leaves(then)
    changed = {path for path in after if path not in before or get(live, path) != get(then, path)}
    kept = {who: (paths & after) - changed for who, paths in owners.items()}
    mine = (manager, "Update")
    kept[mine] = kept.get(mine, set()) | changed
    return {who: paths for who, paths in kept.items() if paths}


def managed_fields(owners, version, when):
    """As metadata.managedFields has them (FieldsV1)."""
    found = []
    for (manager, operation), paths in sorted(owners.items()):
        fields = {}
        for path in paths:
            part = fields
            for key in path:
                name = f'k:{{"{key[0]}":"{key[1]}"}}' if isinstance(key, tuple) else f"f:{key}"
                part = part.setdefault(name, {})
        entry = {"manager": manager, "operation": operation, "apiVersion": version, "time": when, "fieldsType": "FieldsV1"}
        found.append(entry | {"fieldsV1": fields})
    return found


def shown(path):
    """A path as an API server writes it."""
    return "".join(f'[{key[0]}="{key[1]}"]' if isinstance(key, tuple) else f".{key}" for key in path)
