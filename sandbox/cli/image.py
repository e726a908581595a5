"""`workbench image`: build the sandbox image and see which ones there are."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from sandbox.cli.common import HELP_SETTINGS, example, settings, stderr_console

if TYPE_CHECKING:
    import docker

    from sandbox.config import Settings
    from sandbox.images import Variant


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        rich_markup_mode=None,
        context_settings=HELP_SETTINGS,
        no_args_is_help=True,
        epilog=example("workbench image build", "workbench image list"),
    )
    group.command(
        epilog=example(
            "workbench image build", "workbench image build --full", "workbench image build --base python:3.11-slim"
        )
    )(build)
    group.command("list", epilog=example("workbench image list"))(list_images)
    app.add_typer(group, name="image", help="Build the sandbox image and see which ones there are.")


def build(
    full: Annotated[bool, typer.Option("--full", help="Add the large packages: scikit-learn, OpenCV, ...")] = False,
    base: Annotated[
        str | None, typer.Option(help="Image to start from. [default: the official slim Python image]")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Name of the image. [default: from the settings]")] = None,
) -> None:
    """Build the sandbox image on the engine, or as much of it as is not up to date.

    Where no registry can be reached, a Debian base is made on this machine with debootstrap (as root).
    """
    found = settings()
    from sandbox.engine_client import engine_client  # noqa: PLC0415

    build_with_progress(engine_client(found), tag or found.image, "full" if full else "default", base)


def build_with_progress(client: "docker.APIClient", tag: str, variant: "Variant", base: str | None) -> None:
    """Build, showing each step with its time.

    Raises:
        EngineUnavailable, ImageBuildFailed: as `sandbox.images.build_image`.
    """
    from sandbox.images import build_image  # noqa: PLC0415

    console = stderr_console()
    began = time.monotonic()
    with console.status("looking what is up to date") as status:

        def progress(words: str) -> None:
            console.print(f"[dim]{time.monotonic() - began:6.1f} s[/dim]  {_plain(words)}")
            status.update(_plain(words))

        built = build_image(client, tag=tag, variant=variant, base=base, progress=progress)
    typer.echo(f"{built.tag}  {built.size_bytes / 1e6:.0f} MB  {built.seconds:.1f} s  on {built.base or '-'}")


def list_images() -> None:
    """List the sandbox images on the engine."""
    from sandbox.engine_client import engine_client  # noqa: PLC0415
    from sandbox.images.build import LABEL_FINGERPRINT, LABEL_VERSION  # noqa: PLC0415

    found = settings()
    images = engine_client(found).images(filters={"label": [LABEL_FINGERPRINT]})
    tagged = [(tag, image) for image in images for tag in image.get("RepoTags") or () if tag != "<none>:<none>"]
    if not tagged:
        typer.echo("no sandbox image; `workbench image build` makes one")
    for tag, image in sorted(tagged, key=lambda pair: pair[0]):
        version = image["Labels"].get(LABEL_VERSION)
        used = f"version {version}" if version else "packages only"
        mark = "  (in use by the settings)" if tag == found.image else ""
        typer.echo(f"{tag}  {image['Size'] / 1e6:.0f} MB  {used}{mark}")


def ensure_image(found: "Settings") -> str:
    """Build the image of the settings if it is missing or old; say which in one line.

    Raises:
        EngineUnavailable, ImageBuildFailed: as `sandbox.images.build_image`.
    """
    from sandbox.engine_client import as_built, engine_client  # noqa: PLC0415
    from sandbox.images import image_is_current  # noqa: PLC0415

    client = engine_client(found)
    variant, base = as_built(client, found.image)
    if image_is_current(client, tag=found.image, variant=variant, base=base):
        return f"image {found.image} is up to date"
    build_with_progress(client, found.image, variant, base)
    return f"image {found.image} was built"


def _plain(words: str) -> str:
    from rich.markup import escape  # noqa: PLC0415

    return escape(words)
