"""Taking over, on a machine that does not know it, a lab whose state lies elsewhere: a colleague's, a
pipeline's, or one's own after the laptop was lost."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from cli.backend import backend_url, file_backend, secrets_provider
from cli.project import read_config, set_config
from cli.session import Session
from cli.steps import asked_port_base, prepare_project, remember_made_elsewhere
from contracts.errors import LabError, UsageError
from contracts.settings import SETTINGS, Role

_OF_THIS_MACHINE = ("home", "portBase")


def join(session: Session, changes: Mapping[str, str] | None = None) -> bool:
    """Makes the project of a lab whose state is there already, with the settings of its last run. Nothing for
    a lab that this machine knows, or whose state would lie in its own folder. Returns whether it was joined.

    Raises:
        UsageError: the state there is another lab's, or opens with a passphrase that is on another machine.
    """
    lab = session.lab
    if lab.exists or file_backend(lab, session.environ) == lab.state_dir:
        return False
    prepare_project(session, port_base=asked_port_base(changes))
    try:
        if not session.engine.exists(Role.PERSISTENT):
            return False
        _take_settings(session)
    except LabError:
        # It would be remembered where the state lies, and the next attempt refused.
        shutil.rmtree(lab.home)
        raise
    remember_made_elsewhere(lab)
    session.renew_engine()
    session.say(f"lab {lab.name!r} is known there: its settings are those of its last run")
    return True


def _take_settings(session: Session) -> None:
    lab, url = session.lab, backend_url(session.lab, session.environ)
    own = {role: read_config(lab, role) for role in Role}
    for role in Role:
        if session.engine.exists(role):
            session.engine.take_settings(role)
    found = read_config(lab, Role.PERSISTENT)
    if found.get("name") != lab.name:
        place, mark, options = url.partition("?")
        raise UsageError(
            f"the state of lab {found.get('name')!r} lies there",
            value=url,
            permitted=f"a place of its own for each lab, such as {place}/{lab.name}{mark}{options}; or "
            f"--shares {found.get('name')}, for a lab in a slot of that one's persistent stack",
            next_command=f"lab --name {found.get('name')} up, for that one",
        )
    if secrets_provider(lab, session.environ) is None:
        raise UsageError(
            "this state opens with the passphrase of the machine that made it",
            value=url,
            permitted=f"a state that a key encrypts (--secrets); or copy {lab.home} from there",
            next_command="on that machine: pulumi stack change-secrets-provider URL, for both stacks",
        )
    # What both stacks have and the lab stack was not run with yet.
    shared = {setting.key for setting in SETTINGS if setting.roles == frozenset(Role)}
    for key in (shared & found.keys()) - {"role"}:
        if not session.engine.exists(Role.LAB):
            set_config(lab, Role.LAB, key, found[key])
    for role in Role:
        for key in _OF_THIS_MACHINE:
            set_config(lab, role, key, own[role][key])
