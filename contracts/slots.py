"""Which labs have a slot in a persistent stack, and what follows for each from its name. The lab whose name
the stack has is its owner; the others are named by ``moreLabs``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from contracts.errors import UsageError
from contracts.settings import Settings

_LAB_IN_NAME = "{lab}"
NAMESPACES_BESIDE = ("spark", "data")
"""What stands after a lab's namespace, and a hyphen, in the names of further ones that are its own."""


def labs_of(settings: Settings) -> tuple[str, ...]:
    """The labs with a slot, the owner first. ``settings`` are the persistent stack's.

    Raises:
        UsageError: two of them would have the same namespace, one would be in a namespace that is another's
            beside its own, or their names can't be told apart by their prefix.
    """
    labs = tuple(dict.fromkeys((settings.name, *settings.values["moreLabs"])))
    taken: dict[str, str] = {}
    for lab in labs:
        namespace = namespace_in(settings, lab)
        if namespace in taken:
            raise UsageError(
                f"labs {taken[namespace]!r} and {lab!r} would share a namespace",
                value=namespace,
                permitted="another namespace of the owner's, or another name of the lab",
                next_command=f"pulumi config set namespace lakehouse-{settings.name} -s persistent",
            )
        taken[namespace] = lab
        # Roles of a lab's cluster begin with its name and this word, and rights to them end there.
        if taken_by := next((other for other in labs if lab.startswith(f"{other}-cluster-")), None):
            raise UsageError(
                f"what belongs to lab {lab!r} could be taken for that of lab {taken_by!r}",
                value=lab,
                permitted=f"a name that does not begin with {taken_by}-cluster-",
                next_command="pulumi config set moreLabs NAMES -s persistent",
            )
    _refuse_beside(settings, taken)
    return labs


def _refuse_beside(settings: Settings, labs: Mapping[str, str]) -> None:
    """Raises UsageError where a lab's namespace is one that another has beside its own; ``labs`` by
    namespace."""
    for namespace, lab in labs.items():
        beside, _, word = namespace.rpartition("-")
        if word not in NAMESPACES_BESIDE or beside not in labs:
            continue
        other = labs[beside]
        # Only the owner's can be called otherwise than by its lab's name.
        given = settings.name in (lab, other) and settings.values["namespace"]
        raise UsageError(
            f"lab {lab!r} would be in a namespace that lab {other!r} has beside its own",
            value=namespace,
            permitted=f"another namespace of lab {settings.name!r}"
            if given
            else f"another name than that of lab {other!r} with "
            + " or ".join(f"-{one}" for one in NAMESPACES_BESIDE)
            + " after it",
            next_command=f"pulumi config set namespace lakehouse-{settings.name} -s persistent"
            if given
            else "pulumi config set moreLabs NAMES -s persistent",
        )


def namespace_in(settings: Settings, lab: str) -> str:
    """The namespace of a lab: the one that the settings name is their own lab's alone."""
    own = str(settings.values["namespace"]) if lab == settings.name else ""
    return own or f"lakehouse-{lab}"


def data_namespace(namespace: str) -> str:
    """The namespace of the data services of a lab that keeps them on its own cluster."""
    return f"{namespace}-data"


def domain_in(owner: str, lab: str, domain: str) -> str:
    """The domain below which a lab publishes, where its persistent stack's is ``domain``: two labs never have
    a host in common. Empty: none."""
    return domain if lab == owner or not domain else f"{lab}.{domain}"


def bucket_in(settings: Settings, lab: str, purpose: str) -> str:
    """The name of a lab's bucket in a store of the user's own; ``purpose`` is ``warehouse`` or ``policy``."""
    given = str(settings.values[f"{purpose}Bucket"])
    if _LAB_IN_NAME in given:
        return given.replace(_LAB_IN_NAME, lab)
    return given if given and lab == settings.name else f"{lab}-{purpose}"


def slot_command(owner: str, slots: Iterable[str], lab: str) -> str:
    """The owner's command that makes a slot for ``lab`` beside those that are there."""
    names = [*(name for name in sorted(slots) if name not in (owner, lab)), lab]
    return f"lab --name {owner} bootstrap --set moreLabs={','.join(names)}"


def refuse_shared_machine(lab: str, more_labs: Sequence[str]) -> None:
    """Raises UsageError where labs would share what is kept on one machine."""
    if more_labs:
        raise UsageError(
            f"on placement local nothing is shared: databases and object store are processes of lab {lab!r}",
            value=f"moreLabs: {', '.join(more_labs)}",
            permitted="placements kubernetes and aws; here each lab has its own, beside the others",
            next_command=f"lab --name {more_labs[0]} up",
        )
