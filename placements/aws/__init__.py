"""The ``aws`` placement: what is kept in an account (``foundation``), and the cluster that comes and goes
(``cluster``), whose workloads placement ``kubernetes`` runs.

Every document and every set of arguments comes from a pure function; components register them.
"""
