"""The tracked ``Pulumi.<stack>.yaml`` templates, made from the settings table so that they can't differ."""

from __future__ import annotations

import textwrap

from contracts.settings import NAMESPACE, SETTINGS, Role

_HEADER = {
    Role.PERSISTENT: "The persistent stack: what is kept (PostgreSQL, object store, secrets, identities).",
    Role.LAB: "The lab stack: what is cattle (catalog, Keycloak, OPA, engines); rebuilt at will.",
}


def stack_template(role: Role) -> str:
    """``Pulumi.<role>.yaml``: every setting of the stack, documented; only ``role`` is set."""
    lines = [
        f"# {_HEADER[role]}",
        "# A documented template: each lab keeps its own copy in its project directory (see `./lab env`).",
        "# Set a key there with `pulumi config set KEY VALUE`. Keys in comments show their defaults.",
        "config:",
    ]
    for setting in SETTINGS:
        if role not in setting.roles:
            continue
        lines += [f"  # {line}" for line in textwrap.wrap(setting.text, 96)]
        if setting.key == "role":
            lines.append(f"  {NAMESPACE}:role: {role.value}")
        else:
            lines.append(f'  # {NAMESPACE}:{setting.key}: "{setting.default}"')
    return "\n".join(lines) + "\n"
