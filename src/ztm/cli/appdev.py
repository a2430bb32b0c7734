"""`ztm app ...`: apps by others, from a first folder to a package that others install.

Nothing is installed without its owner's word, but for `run`, which is the word of whoever wrote the app.
"""

from ztm.apps.grammar import Arguments, Command, Option
from ztm.cli import apppack
from ztm.cli.app import find, full_name, path_of
from ztm.cli.context import YES, Context, attempting
from ztm.errors import ConflictError

TAG = Option("--tag", "<tag>", "Tag of the app's name, for a version beside the usual one")
FILE = Option("--output", "<file>", "File to write (default: NAME-VERSION.ztm-app here)", "-o")
UNCONFINED = Option("--unconfined", "", "Start it with all that you may yourself, where the system cannot confine it")


def new(context: Context, arguments: Arguments) -> None:
    """Begin an app: a folder with a manifest, the app, and its test.

    Raises:
        ZtmError: the name is none, or the folder is there already.
    """
    from ztm.cli.appnew import create

    context.out(create(arguments.word("app name"), arguments.word("folder")))


def check(context: Context, arguments: Arguments) -> int:
    """Start the app in its confined process, between two endpoints in memory; the exit status tells what came of it.

    Raises:
        ZtmError: there is no app, or it does not start.
    """
    from ztm.cli.appcheck import checked

    return checked(context, arguments.word("folder"), is_confined=not arguments.flag(UNCONFINED.name))


def pack(context: Context, arguments: Arguments) -> None:
    """Make the package of an app, signed by the own user.

    Raises:
        ZtmError: there is no app, it cannot be packed, or the file cannot be written.
    """
    import shutil

    from ztm.cli import transfer

    folder = arguments.word("folder")
    manifest = apppack.manifest_of(folder)
    name = arguments.value(FILE.name) or f"{manifest.name}-{manifest.version}{apppack.ENDING}"
    with apppack.signed(context, folder, arguments.value(TAG.name) or "") as file, transfer.target(name) as target:
        shutil.copyfileobj(file, target)
    if name != "-":
        context.out(f"{name}: app {manifest.name} {manifest.version}, signed by user {_user(context)}")


def _user(context: Context) -> str:
    return str(context.mesh_object["agent"].get("username", ""))


def install(context: Context, arguments: Arguments) -> None:
    """Install a package, or the app in a folder, once its owner consents.

    Raises:
        ZtmError: it is no package that can be trusted, its owner does not consent, or it cannot be installed.
    """
    word = arguments.word("folder|file")
    with apppack.brought(context, word, arguments.value(TAG.name) or "") as file, attempting(f"cannot install {word}"):
        report = apppack.inspect(context, file)
        apppack.ask_consent(context, report, arguments)
        installed = apppack.install(context, file, report)
    context.out(f"app {full_name(installed)} {installed['version']} is installed: 'ztm {installed['name']}' runs it")


def rollback(context: Context, arguments: Arguments) -> None:
    """Go back to the version that was installed before.

    Raises:
        ConflictError: there is none.
        ZtmError: there is no such app, or the agent refused.
    """
    app = find(context, arguments.word("app name"))
    where = f"app '{full_name(app)}' on endpoint '{context.endpoint.name}'"
    if not app.get("previous"):
        raise ConflictError(f"cannot roll back {where}: no earlier version of it is there")
    with attempting(f"cannot roll back {where}"):
        found = context.ask("POST", path_of(context, app), {"isRolledBack": True}, timeout=60.0)
    context.out(f"app {full_name(found)} is {found['version']} again (it was {app['version']})")


def run(context: Context, arguments: Arguments) -> int:
    """Run an app from its folder, with its log, until Ctrl-C.

    Raises:
        ZtmError: it cannot be installed or started.
    """
    from ztm.cli.apprun import run_folder

    return run_folder(context, arguments.word("folder"))


COMMANDS = (
    Command(
        usage="app new <app name> [folder]",
        title="Begin an app: its manifest, its code and a test",
        run=new,
        local=True,
    ),
    Command(
        usage="app check <folder>",
        title="Start an app in its confined process, without a mesh, and show what it offers",
        run=check,
        options=(UNCONFINED,),
        local=True,
    ),
    Command(
        usage="app pack <folder>",
        title="Make the package of an app, signed by your user",
        run=pack,
        options=(FILE, TAG),
        local=True,
    ),
    Command(
        usage="app install <folder|file>",
        title="Install an app from its package, or from its folder as your own",
        run=install,
        options=(TAG, YES),
        notes="Shows the publisher and what the app asks for first. Without a terminal it takes --yes to consent; an "
        "update that asks for nothing more needs no new consent.",
        local=True,
    ),
    Command(
        usage="app run <folder>",
        title="Run an app from its folder with its log until Ctrl-C, for those who write it",
        run=run,
        notes="It is installed again whenever a file of it changes, and gone afterwards; a version that was installed "
        "before is put back.",
        local=True,
    ),
    Command(
        usage="app rollback <app name>",
        title="Go back to the version of an app that was installed before",
        run=rollback,
        notes="Acts on this endpoint; on another one of yours with 'ztm ep NAME ...'.",
    ),
)
