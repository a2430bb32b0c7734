"""The authority of a mesh: root permits, and the CA certificate and key. These commands need no agent.

They are run where the hub's data directory is. A key is only ever written to a private file, and nothing that
exists is overwritten unasked.

Source: spec cli.md section 6.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ztm.apps.grammar import Arguments, Command, Option
from ztm.cli import values
from ztm.cli.context import YES, Context
from ztm.cli.options import CA_OPTIONS, DATA_OPTION, NAMES_OPTION, PQC_OPTIONS
from ztm.cli.output import is_terminal
from ztm.errors import CertificateError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from ztm.pki import Authority
    from ztm.store.hub import HubStore


def root(context: Context, arguments: Arguments) -> None:
    """Issue one more root permit from a hub's data directory, and print it or write it with mode 0600.

    Raises:
        UsageError: no name is given, or an option is malformed.
        StorageError: the permit cannot be written.
        ZtmError: the CA service that `--ca` names is not reachable, is not trusted, or refuses.
    """
    from ztm.cli.files import check_writable, write_private

    names, target = values.hub_names(arguments), arguments.value("--permit")
    values.key_exchange(arguments)  # a permit holds none, and what cannot be had is said here already
    signature, service = values.signature(arguments), values.ca_service(arguments)
    if target:
        check_writable(target)
    from ztm.hub.root import issue

    permit = issue(values.data_directory(arguments), names, ca=service, signature=signature)
    if target:
        write_private(Path(target), permit.rstrip("\n") + "\n")
    else:
        context.out(permit.rstrip("\n"))


def import_ca(context: Context, arguments: Arguments) -> None:
    """Give a hub's data directory a CA from files, checked to be one.

    Raises:
        UsageError: an option is missing.
        NotFoundError: a file cannot be read.
        CertificateError: they hold no CA, or key and certificate do not belong together; nothing is stored then.
        ConflictError: there is another CA already, and `--yes` was not given; or the hub is running.
    """
    certificate, key = _files(arguments)
    authority = _read_authority(certificate, key)
    from ztm.store.hub import HubStore
    from ztm.store.lock import sole_use

    data = values.data_directory(arguments)
    with sole_use(data, "hub"):  # a running hub has read its CA already
        store = HubStore(data)
        try:
            _check_replaced(context, arguments, store, authority)
            store.save_authority(authority)
        finally:
            store.close()


def _read_authority(certificate: str, key: str) -> "Authority":
    from ztm.cli.files import read_text
    from ztm.pki import Authority, check_ca, check_private_key

    texts = read_text(certificate), read_text(key)
    try:
        return Authority(check_ca(texts[0]), check_private_key(texts[1]))
    except CertificateError as error:
        raise CertificateError(f"cannot import {certificate} and {key}: {error}") from None


def _check_replaced(context: Context, arguments: Arguments, store: "HubStore", authority: "Authority") -> None:
    """Ask before a mesh is lost: all permits and certificates of the CA there end with it."""
    try:
        known = store.authority()
    except CertificateError:
        known = None
    if known is None or known.certificate == authority.certificate:
        return
    lost = "its mesh, with all its permits and certificates, would be lost"
    _ask(context, arguments, f"{store.database.path} has another CA; {lost}")


def _ask(context: Context, arguments: Arguments, fact: str) -> None:
    """Go on only if a person or `--yes` says that what exists may be replaced.

    Raises:
        ConflictError: nobody can be asked.
        ZtmError: the answer is no.
    """
    if not arguments.flag(YES.name) and not is_terminal(sys.stdin):
        raise ConflictError(f"{fact} (--yes to replace it)")
    context.confirm(f"{fact}. Replace it?", arguments)


def export_ca(context: Context, arguments: Arguments) -> None:
    """Write the CA certificate, and its private key with mode 0600, to files.

    Raises:
        UsageError: an option is missing, or both name one file.
        NotFoundError: there is no CA; nothing is created then.
        ConflictError: a file exists, and `--yes` was not given.
        StorageError: a file cannot be written.
    """
    from ztm.cli.files import check_writable, write_private

    certificate, key = _files(arguments)
    if Path(certificate).expanduser().resolve() == Path(key).expanduser().resolve():
        raise arguments.error("--cert and --key name one file")
    authority = _stored(values.data_directory(arguments))
    for name in (certificate, key):
        check_writable(name)
        _check_overwritten(context, arguments, name)
    write_private(Path(key), authority.key)
    write_private(Path(certificate), authority.certificate)


def _stored(data: Path) -> "Authority":
    from ztm.store.hub import FILE_NAME, HubStore

    if not (data / FILE_NAME).is_file():
        raise NotFoundError(f"CA certificate not found: there is no hub's data in {data} (name it with --data)")
    store = HubStore(data)
    try:
        found = store.authority()
    finally:
        store.close()
    if found is None:
        raise NotFoundError(f"CA certificate not found in {data}: 'ztm root' or 'ztm run hub' makes one")
    return found


def _check_overwritten(context: Context, arguments: Arguments, name: str) -> None:
    if Path(name).expanduser().exists():
        _ask(context, arguments, f"{name} exists")


def _files(arguments: Arguments) -> tuple[str, str]:
    return arguments.require("--cert"), arguments.require("--key")


_FILES = (
    DATA_OPTION,
    Option("--cert", "<file>", "The CA certificate (PEM)"),
    Option("--key", "<file>", "Its private key (PEM)"),
    YES,
)

COMMANDS = (
    Command(
        usage="ca import",
        title="Give a hub the CA of these files",
        run=import_ca,
        local=True,
        options=_FILES,
        notes="Stop the hub first: it reads its CA when it starts.",
    ),
    Command(
        usage="ca export",
        title="Write a hub's CA to files",
        run=export_ca,
        local=True,
        options=_FILES,
        notes="Whoever has the key can make itself any user and any hub of the mesh: keep it safe.",
    ),
    Command(
        usage="root",
        title="Issue one more permit for the user root",
        run=root,
        local=True,
        options=(
            DATA_OPTION,
            NAMES_OPTION,
            Option("--permit", "<file>", "Where to write the permit (default: standard output)", "-p"),
            *CA_OPTIONS,
            *PQC_OPTIONS,
        ),
        notes="Run it where the hub's data directory is. A root permit holds a private key: keep it safe.",
    ),
)
