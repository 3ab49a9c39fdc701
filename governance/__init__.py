"""Access data and its process: validation, bundles, derived grants, and the governor that runs them
(DESIGN §3, §7)."""
