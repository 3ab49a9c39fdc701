"""The ``kubernetes`` placement: workloads as objects of any cluster.

Every object comes from a pure function (``pods``, ``objects``, ``network``, ``namespace``); only
``placement`` and ``foundation`` register resources, and import the provider's SDK when they do.
"""
