"""Which labs have a slot in a persistent stack, and what follows for each from its name. The lab whose name
the stack has is its owner; the others are named by ``moreLabs``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from contracts.errors import UsageError
from contracts.settings import Settings

_LAB_IN_NAME = "{lab}"


def labs_of(settings: Settings) -> tuple[str, ...]:
    """The labs with a slot, the owner first. ``settings`` are the persistent stack's.

    Raises:
        UsageError: two of them would have the same namespace, or names that can't be told apart by their
            prefix.
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
    return labs


def namespace_in(settings: Settings, lab: str) -> str:
    """The namespace of a lab: the one that the settings name is their own lab's alone."""
    own = str(settings.values["namespace"]) if lab == settings.name else ""
    return own or f"lakehouse-{lab}"


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
