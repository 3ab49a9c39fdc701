"""Two roles for the workflows of one GitHub repository, by OpenID Connect: no long-lived key anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import pulumi

from contracts.settings import Settings
from contracts.slots import labs_of
from placements.aws.ci_policies import AUDIENCE, GITHUB, deploy_policy, github_trust, preview_policy
from placements.aws.naming import Scope
from placements.aws.sdk import aws


class CiRoles(pulumi.ComponentResource):
    """Attributes: ``arns``, by ``preview`` (pull requests of the repository itself: GitHub gives forks no
    token), ``deploy`` (the protected environment) and, for each further lab, ``deploy-NAME`` (the environment
    with that name added to it), which changes that lab's stack alone."""

    def __init__(
        self,
        name: str,
        *,
        scope: Scope,
        settings: Settings,
        key_arn: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("lab:aws:CiRoles", name, None, pulumi.ResourceOptions(parent=opts.parent))
        iam, child = aws().iam, pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        repository = settings.values["awsCiRepository"]
        provider: pulumi.Input[str] = settings.values["awsCiProviderArn"]
        if not provider:
            provider = iam.OpenIdConnectProvider(
                "github",
                url=f"https://{GITHUB}",
                client_id_lists=[AUDIENCE],
                tags=scope.tags("github"),
                opts=child,
            ).arn
        environment = f"repo:{repository}:environment:{settings.values['awsCiEnvironment']}"
        roles = [
            ("preview", scope, f"repo:{repository}:pull_request", preview_policy),
            ("deploy", scope, environment, deploy_policy),
        ]
        for lab in labs_of(settings)[1:]:
            roles.append((f"deploy-{lab}", replace(scope, lab=lab), f"{environment}-{lab}", deploy_policy))
        arns: dict[str, pulumi.Output[str]] = {}
        for key, own, subject, policy in roles:
            purpose = key.partition("-")[0]
            role = iam.Role(
                f"ci-{key}",
                name=f"{own.prefix}-ci-{purpose}",
                description=f"Workflows of {repository}: {subject}",
                assume_role_policy=pulumi.Output.from_input(provider).apply(
                    partial(github_trust, subject=subject)
                ),
                max_session_duration=7200,
                tags=own.tags(f"ci-{purpose}"),
                opts=child,
            )
            iam.RolePolicy(
                f"ci-{key}",
                name=purpose,
                role=role.name,
                policy=pulumi.Output.from_input(key_arn).apply(partial(policy, own)),
                opts=child,
            )
            arns[key] = role.arn
        self.arns: Mapping[str, pulumi.Output[str]] = arns
        self.register_outputs(dict(arns))
