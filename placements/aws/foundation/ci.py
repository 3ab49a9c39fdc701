"""Two roles for the workflows of one GitHub repository, by OpenID Connect: no long-lived key anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pulumi

from contracts.settings import Settings
from placements.aws.ci_policies import AUDIENCE, GITHUB, deploy_policy, github_trust, preview_policy
from placements.aws.naming import Scope
from placements.aws.sdk import aws


class CiRoles(pulumi.ComponentResource):
    """Attributes: ``arns``, by ``preview`` (pull requests of the repository itself: GitHub gives forks no
    token) and ``deploy`` (the protected environment)."""

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
        subjects = {
            "preview": f"repo:{repository}:pull_request",
            "deploy": f"repo:{repository}:environment:{settings.values['awsCiEnvironment']}",
        }
        documents = {"preview": preview_policy, "deploy": deploy_policy}
        arns: dict[str, pulumi.Output[str]] = {}
        for purpose, subject in subjects.items():
            role = iam.Role(
                f"ci-{purpose}",
                name=f"{scope.prefix}-ci-{purpose}",
                description=f"Workflows of {repository}: {subject}",
                assume_role_policy=pulumi.Output.from_input(provider).apply(
                    partial(github_trust, subject=subject)
                ),
                max_session_duration=7200,
                tags=scope.tags(f"ci-{purpose}"),
                opts=child,
            )
            iam.RolePolicy(
                f"ci-{purpose}",
                name=purpose,
                role=role.name,
                policy=pulumi.Output.from_input(key_arn).apply(partial(documents[purpose], scope)),
                opts=child,
            )
            arns[purpose] = role.arn
        self.arns: Mapping[str, pulumi.Output[str]] = arns
        self.register_outputs(dict(arns))
