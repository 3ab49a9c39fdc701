"""The ``kubernetes`` placement: workloads as Deployments and StatefulSets of a cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi

from contracts.errors import LabError
from contracts.workload import (
    Capability,
    Deployed,
    Entrance,
    Layout,
    Scheme,
    Workload,
    missing_capabilities,
)
from placements.kubernetes import objects
from placements.kubernetes.cluster import Cluster
from placements.kubernetes.driver_pods import beside
from placements.kubernetes.drivers import drivers_objects
from placements.kubernetes.images import require_images
from placements.kubernetes.ingress import Publishing, admission, certificate_secret, ingress
from placements.kubernetes.layout import first_port, image_layout, image_of
from placements.kubernetes.naming import Manifest, Scope, content_name
from placements.kubernetes.network import edges
from placements.kubernetes.pods import Content, escaped
from placements.kubernetes.resources import register, sdk
from placements.kubernetes.tunnels import tunnel
from placements.local.plan import refuse_secret_arguments
from placements.local.ports import service_port
from placements.local.process import Process


class KubernetesPlacement:
    """Implements :class:`contracts.workload.Placement` for one namespace of a cluster.

    Args:
        cluster: how the operator reaches it.
        scope: what all objects share.
        images: references by the image's name, each with a digest.
        provider: the provider that the objects are registered with.
        home: the lab's own folder on the operator's machine, whose supervisor holds the tunnels.
        port_base: the first loopback port of the tunnels.
        cache: the per-user cache.
        service_order: all services in the order that fixes the tunnels' ports.
        publishing: how people come in from outside the cluster; None: they don't.
        protect: whether the engine refuses to remove a controller whose volumes are retained.
        after: what has to be there before anything is registered with the cluster.
    """

    name = "kubernetes"
    capabilities = frozenset(
        {
            Capability.PROCESS,
            Capability.PERSISTENT_VOLUME,
            Capability.REPLICAS,
            Capability.POD_PER_USER,
        }
    )

    def __init__(
        self,
        *,
        cluster: Cluster,
        scope: Scope,
        images: Mapping[str, str],
        provider: Any,
        home: Path,
        port_base: int,
        cache: Path,
        service_order: Sequence[str],
        publishing: Publishing | None = None,
        after: Sequence[pulumi.Resource] = (),
        protect: bool = False,
    ) -> None:
        self.cluster = cluster
        self.scope = scope
        self.images = images
        self.home = home
        self.port_base = port_base
        self.cache = cache
        self.service_order = tuple(service_order)
        self.publishing = publishing
        self._provider = provider
        self._certificate: tuple[pulumi.Output[str], pulumi.Resource] | None = None
        self._after = list(after)
        self._protect = protect
        self._layouts: dict[str, Layout] = {}
        self._promised: dict[str, str] = {}
        self._deployed: dict[str, pulumi.Resource] = {}

    def layout(
        self, workload: str, artifact: str, ports: Sequence[str], *, also: Sequence[str] = ()
    ) -> Layout:
        """Paths in the workload's image and ports of its service. Raises LabError when others were promised
        another first port."""
        if ports:
            service_port(self.port_base, self.service_order, workload, len(ports) - 1)
        promised = self._promised.get(workload)
        if promised is not None and next(iter(ports), None) != promised:
            raise LabError(
                f"others were given port {promised!r} of {workload} as its first one, and it is not",
                value=list(ports),
                permitted=f"{promised!r} first",
            )
        layout = image_layout(workload, artifact, ports, also, proxied=self.publishing is not None)
        self._layouts[workload] = layout
        return layout

    def internal_url(self, workload: str, port: str, scheme: Scheme = Scheme.HTTP) -> str:
        """The service's name in the cluster's DNS. An external server's own address is the slot's to tell."""
        number = first_port(workload) + self._index(workload, port)
        return f"{scheme.value}://{self.host(workload)}:{number}"

    def host(self, workload: str) -> str:
        """The name that a workload's service has in the cluster."""
        return self.scope.host(workload)

    def operator_url(self, workload: str, port: str, scheme: Scheme = Scheme.HTTP) -> str:
        """The tunnel's end on the operator's machine."""
        number = service_port(self.port_base, self.service_order, workload, self._index(workload, port))
        return f"{scheme.value}://127.0.0.1:{number}"

    def public_url(self, workload: str, port: str, scheme: Scheme = Scheme.HTTP) -> str:
        """Its host below the domain, or the tunnel's end where nothing is published."""
        if self.publishing is None:
            return self.operator_url(workload, port, scheme)
        self._index(workload, port)
        return f"https://{self.publishing.host(workload)}"

    def deploy(self, workload: Workload, opts: Any = None) -> Deployed:
        """Registers the workload's objects and the tunnel to it, which is done once its pods are ready; there
        is none to one that has no address. Raises LabError, before anything is registered, when this
        placement can't realise the workload."""
        missing = missing_capabilities(workload, self.capabilities)
        if missing:
            raise LabError(
                f"{workload.name} needs what placement {self.name!r} does not offer",
                value=", ".join(missing),
                permitted=", ".join(sorted(capability.value for capability in self.capabilities)),
                next_command="pulumi config set placement local",
            )
        layout = self._layouts.get(workload.name)
        if layout is None:
            raise LabError(f"{workload.name} was deployed before its layout was asked for")
        image = image_of(workload.name, workload.artifact)
        require_images([image], self.images)
        apart: list[Manifest] = []
        if workload.per_user is not None:
            apart = drivers_objects(workload, workload.per_user, self.scope)
            workload = beside(workload, workload.per_user, layout, self.scope, self.images[image])
        content, before = self._content(workload)
        # Rendered before anything is registered: it may be refused.
        controller = objects.controller(
            workload,
            layout,
            self.scope,
            image=self.images[image],
            command=_checked_command(workload),
            content=content,
        )
        policies = edges(workload, self.scope)
        published = self.publishing if workload.entrance else None
        if workload.entrance and published:
            policies.append(admission(workload, workload.entrance, self.scope, published))
        name, options = workload.name, self._options(opts)
        first = [register(objects.service_account(name, self.scope), name, options)]
        first += [register(manifest, resource, options) for resource, manifest in before]
        first += [register(policy, policy["metadata"]["name"], options) for policy in policies]
        first += self._apart(workload.name, apart, options)
        ready = [self._deployed[other] for other in workload.depends_on if other in self._deployed]
        retained = any(volume.retained for volume in workload.volumes)
        waiting = pulumi.ResourceOptions(
            depends_on=[*first, *ready], protect=True if self._protect and retained else None
        )
        pods = register(controller, name, _merge(options, waiting))
        register(objects.disruption_budget(workload, self.scope), name, options)
        if workload.scaling is not None:
            scaled = objects.autoscaler(workload, workload.scaling, self.scope, controller["kind"])
            register(scaled, name, _merge(options, pulumi.ResourceOptions(depends_on=[pods])))
        self._deployed[workload.name] = pods
        if not workload.addressed:
            return Deployed(
                internal_urls={}, operator_urls={}, ready=pods.urn.apply(lambda _: True), resource=pods
            )
        service = register(objects.service(workload, self.scope), name, options)
        if workload.entrance and published:
            self._publish(workload, workload.entrance, published, options, service)
        held = self._tunnel(
            workload, controller, _merge(opts, pulumi.ResourceOptions(depends_on=[pods, service]))
        )
        return Deployed(
            internal_urls={p.name: self.internal_url(name, p.name, p.scheme) for p in workload.ports},
            operator_urls={p.name: self.operator_url(name, p.name, p.scheme) for p in workload.ports},
            ready=held.plan_hash.apply(lambda _: True),
            resource=held,
            public_url=f"https://{published.host(name)}" if published else None,
        )

    def _apart(
        self, workload: str, manifests: Sequence[Manifest], options: pulumi.ResourceOptions
    ) -> list[pulumi.Resource]:
        """Registers the namespace in which a workload makes pods, and what is there before them."""
        if not manifests:
            return []
        space, *others = manifests
        made = register(space, f"{workload}-apart", options)
        inside = _merge(options, pulumi.ResourceOptions(depends_on=[made]))
        found = [made]
        for manifest in others:
            own = inside
            if manifest["metadata"]["namespace"] == space["metadata"]["name"]:
                # It goes with the namespace, and so does whatever runs in it.
                own = _merge(inside, pulumi.ResourceOptions(deleted_with=made))
            name = f"{workload}-apart-{manifest['kind'].lower()}-{manifest['metadata']['name']}"
            found.append(register(manifest, name, own))
        if self.scope.pull_secret:
            found.append(self._copied_secret(workload, space["metadata"]["name"], inside, made))
        return found

    def _copied_secret(
        self, workload: str, namespace: str, options: pulumi.ResourceOptions, made: pulumi.Resource
    ) -> pulumi.Resource:
        """The secret with which images are pulled, which people make in the lab's namespace, in another."""
        name = self.scope.pull_secret
        kind = sdk("pulumi_kubernetes.core.v1").Secret
        reading = pulumi.ResourceOptions(provider=self._provider)
        given = kind.get(f"{workload}-pull-secret", f"{self.scope.namespace}/{name}", opts=reading)
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": given.type,
            "metadata": replace(self.scope, namespace=namespace).metadata(name, workload),
            "data": pulumi.Output.secret(given.data),
        }
        own = _merge(options, pulumi.ResourceOptions(deleted_with=made))
        return register(manifest, f"{workload}-apart-pull-secret", own)

    def repeat(
        self, workload: Workload, schedule: str, opts: pulumi.ResourceOptions | None = None
    ) -> pulumi.Resource:
        """Registers a workload that runs to its end at the times of ``schedule`` (cron, UTC), or where that
        is empty by hand alone."""
        name, options = workload.name, self._options(opts)
        layout, image = self._layouts[name], image_of(name, workload.artifact)
        require_images([image], self.images)
        content, before = self._content(workload)
        manifest = objects.cron_job(
            workload,
            layout,
            self.scope,
            image=self.images[image],
            command=_checked_command(workload),
            content=content,
            schedule=schedule,
        )
        first = [register(objects.service_account(name, self.scope), name, options)]
        first += [register(made, resource, options) for resource, made in before]
        first += [register(one, one["metadata"]["name"], options) for one in edges(workload, self.scope)]
        return register(manifest, name, _merge(options, pulumi.ResourceOptions(depends_on=first)))

    def _publish(
        self,
        workload: Workload,
        entrance: Entrance,
        publishing: Publishing,
        options: pulumi.ResourceOptions,
        service: pulumi.Resource,
    ) -> None:
        """The workload's Ingress, and before the first one the certificate of all."""
        before, named = [service], pulumi.Output.from_input("")
        if publishing.certificate:
            if self._certificate is None:
                known: pulumi.Output[dict[str, str]] = pulumi.Output.all(**publishing.certificate)
                data: pulumi.Output[dict[str, str]] = pulumi.Output.secret(known)
                name = pulumi.Output.unsecret(data.apply(lambda d: content_name("ingress-tls", d)))
                manifest = certificate_secret(name, self.scope, data.apply(objects.secret_data))
                own = pulumi.ResourceOptions(provider=self._provider)
                self._certificate = (name, register(manifest, "ingress-tls", own))
            named, made = self._certificate
            before.append(made)
        manifest = ingress(workload, entrance, self.scope, publishing, certificate=named)
        register(manifest, workload.name, _merge(options, pulumi.ResourceOptions(depends_on=before)))

    def _options(self, opts: pulumi.ResourceOptions | None) -> pulumi.ResourceOptions:
        own = pulumi.ResourceOptions(provider=self._provider, depends_on=self._after or None)
        return _merge(opts, own)

    def _content(self, workload: Workload) -> tuple[Content, list[tuple[str, Manifest]]]:
        """What the workload is given, and the objects that hold it with their resources' names. A value that
        is known as it stands is plain; one that comes from elsewhere may be secret and goes into a Secret."""
        name, scope = workload.name, self.scope
        plain_env, secret_env = _divided(workload.env)
        plain_files, secret_files = _divided(workload.files)
        manifests: list[tuple[str, Manifest]] = []
        env_secret = files_secret = config_map = None
        if secret_env:
            env_secret, manifest = _secret(f"{name}-env", name, scope, secret_env)
            manifests.append((f"{name}-env", manifest))
        if secret_files:
            files_secret, manifest = _secret(f"{name}-private-files", name, scope, secret_files)
            manifests.append((f"{name}-private-files", manifest))
        if plain_files:
            manifest = objects.config_map(name, scope, plain_files)
            config_map = manifest["metadata"]["name"]
            manifests.append((f"{name}-files", manifest))
        content = Content(
            plain_env=plain_env,
            env_secret=env_secret,
            plain_files=tuple(plain_files),
            config_map=config_map,
            secret_files=tuple(secret_files),
            files_secret=files_secret,
        )
        return content, manifests

    def _tunnel(self, workload: Workload, controller: Manifest, opts: pulumi.ResourceOptions) -> Process:
        numbers = {
            port.name: service_port(self.port_base, self.service_order, workload.name, index)
            for index, port in enumerate(workload.ports)
        }
        known: pulumi.Output[Manifest] = pulumi.Output.from_input(controller["spec"]["template"])
        spec = known.apply(
            lambda template: tunnel(
                workload.name,
                workload.ports,
                numbers,
                workload.readiness,
                cluster=self.cluster,
                home=self.home,
                pods=json.dumps(template, sort_keys=True),
            )
        )
        return Process(workload.name, home=self.home, spec=spec, artifacts=(), cache=self.cache, opts=opts)

    def _index(self, workload: str, port: str) -> int:
        layout = self._layouts.get(workload)
        if layout is not None:
            if port not in layout.ports:
                raise LabError(
                    f"{workload} has no port named {port!r}",
                    value=port,
                    permitted=", ".join(sorted(layout.ports)),
                )
            return list(layout.ports).index(port)
        # Asked for before the workload's own layout: taken to be its first port, which is checked then.
        if self._promised.setdefault(workload, port) != port:
            raise LabError(
                f"the second port of {workload} is not known before its layout is",
                value=port,
                permitted=self._promised[workload],
            )
        return 0


def _secret(
    purpose: str, workload: str, scope: Scope, values: Mapping[str, pulumi.Input[str]]
) -> tuple[pulumi.Output[str], Manifest]:
    resolved: pulumi.Output[dict[str, str]] = pulumi.Output.secret(pulumi.Output.all(**values))
    # A digest of values that are random and long tells nothing about them.
    name = pulumi.Output.unsecret(resolved.apply(lambda known: content_name(purpose, known)))
    return name, objects.secret(name, workload, scope, resolved.apply(objects.secret_data))


def _divided(
    values: Mapping[str, pulumi.Input[str]],
) -> tuple[dict[str, str], dict[str, pulumi.Input[str]]]:
    plain = {name: value for name, value in values.items() if isinstance(value, str)}
    return plain, {name: value for name, value in values.items() if name not in plain}


def _checked_command(workload: Workload) -> pulumi.Output[Sequence[str]]:
    """The command once it is known to hold no secret, with nothing in it that the kubelet would expand."""

    def checked(values: dict[str, Any]) -> Sequence[str]:
        refuse_secret_arguments(workload.name, values["command"], values["env"])
        return [escaped(word) for word in values["command"]]

    known = pulumi.Output.all(command=list(workload.command), env=dict(workload.env))
    return pulumi.Output.unsecret(known.apply(checked))


def _merge(opts: pulumi.ResourceOptions | None, more: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
    merged = pulumi.ResourceOptions.merge(opts, more)
    return merged or more
