"""What a pipeline runs, and a developer as well: each script starts by its path with any Python ≥ 3.11.

python3 ci/preview.py       what a change would do, as a comment for its pull request
python3 ci/ephemeral.py     a lab of its own, verified and removed again
python3 ci/publish.py       puts the comment on the request, in place of the last one
python3 ci/oidc.py          short-lived credentials of a cloud, from the pipeline's own identity
"""
