"""The Pulumi program: reads the stack's settings and runs its role (DESIGN §3)."""

from contracts.settings import Role, program_settings

settings = program_settings()
if settings.role is Role.PERSISTENT:
    from stacks.persistent import persistent

    persistent(settings)
else:
    from stacks.lab import lab

    lab(settings)
