"""A Pulumi policy pack: what no deployment of a lab may be.

``rules`` are pure functions over :class:`policies.guardrails.model.Resource`; ``pack`` gives them to the
engine. By hand: ``pulumi preview --policy-pack policies/guardrails``.
"""
