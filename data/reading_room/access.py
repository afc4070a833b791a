"""Who asks an archive, and over which connection: credentials, TLS, retries.

Credentials come from the environment or from a netrc file, never from a command line or
an address, where other users of the machine and logs would see them.
"""

import ipaddress
import netrc
import os
import stat
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

import requests
import requests.adapters
import requests.auth
import urllib3

USER, PASSWORD, TOKEN = (
    "AALS_DICOMWEB_USER", "AALS_DICOMWEB_PASSWORD", "AALS_DICOMWEB_TOKEN"
)  # fmt: skip
PLAIN = "plain_http"  # the check that a connection is encrypted
_BUSY = (429, 502, 503, 504)  # what a server answers that may be asked again soon
_RETRIES = 4  # after 0.5, 1, 2 and 4 s, or when the server says, up to a minute
_LONGEST_S = 60


class Redirected(requests.RequestException):
    """A server that sends to another address."""


class _Session(requests.Session):
    """Goes where it was told alone: neither films nor credentials follow a redirect."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        if resp.is_redirect:
            resp.close()
            raise Redirected(response=resp)
        return None


class _Token(requests.auth.AuthBase):
    def __init__(self, token: str):
        self._token = token

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        r.headers["Authorization"] = f"Bearer {self._token}"
        return r


class _Nobody(requests.auth.AuthBase):
    """No credentials; without it, requests would read a netrc file by itself."""

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        return r


def checked_address(url: str, *, allow: tuple[str, ...] = ()) -> str:
    """The address of an archive's DICOMweb service, without a slash at its end.

    Args:
        url: http(s)://HOST[:PORT][/PATH].
        allow: checks that may fail; `plain_http` lets http:// leave this machine.

    Raises:
        ValueError: what is wrong with it; the text does not quote it.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urllib.parse.urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(
            "--dicomweb is no address: https://HOST/PATH of the DICOMweb service"
        )
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "--dicomweb has a name or password in it, which logs and other users may "
            f"see: set {USER} and {PASSWORD}, or write them into a netrc file"
        )
    if parts.query or parts.fragment:
        raise ValueError("--dicomweb has ? or # in it: give the service's root alone")
    if parts.scheme == "http" and not _is_here(host) and PLAIN not in allow:
        raise ValueError(
            "--dicomweb is not encrypted (http), so that films and passwords can be "
            f"read on the way: use https, or --allow {PLAIN} in a closed network"
        )
    return url.rstrip("/")


def session(
    url: str, *, environment: Mapping[str, str] = os.environ
) -> requests.Session:
    """A connection with credentials, verified TLS and retries.

    A request is sent again when the connection fails or the server is busy; storing
    again is harmless, since an object keeps its UID. Certificates are verified by
    REQUESTS_CA_BUNDLE where that is set, else by those that certifi knows.

    Args:
        url: of `checked_address`.
        environment: of the process.

    Raises:
        ValueError: credentials are there by half, or a netrc file can't be read.
        PermissionError: others than its owner can read the netrc file.
    """
    made = _Session()
    made.auth = _credentials(urllib.parse.urlsplit(url).hostname or "", environment)
    retries = urllib3.Retry(
        total=_RETRIES,
        backoff_factor=0.5,
        status_forcelist=_BUSY,
        allowed_methods=None,  # all
        raise_on_status=False,
        retry_after_max=_LONGEST_S,
    )
    for scheme in ("http://", "https://"):
        made.mount(scheme, requests.adapters.HTTPAdapter(max_retries=retries))
    return made


def _credentials(host: str, environment: Mapping[str, str]) -> requests.auth.AuthBase:
    token = environment.get(TOKEN, "")
    user, password = environment.get(USER, ""), environment.get(PASSWORD, "")
    if bool(user) != bool(password):
        raise ValueError(f"set both {USER} and {PASSWORD}, or neither")
    if token and user:
        raise ValueError(f"set {TOKEN}, or {USER} and {PASSWORD}, not all of them")
    if token:
        return _Token(token)
    if not user:
        user, password = _of_netrc(host, environment)
    if not user and not password:
        return _Nobody()
    # in UTF-8; requests would take texts for Latin-1
    return requests.auth.HTTPBasicAuth(user.encode(), password.encode())


def _of_netrc(host: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Name and password for the host; a `default` entry is for no host of ours."""
    named = environment.get("NETRC", "")
    path = Path(named) if named else Path.home() / ".netrc"
    if not path.is_file():
        if named:
            raise ValueError("NETRC names a file that is not there")
        return "", ""
    try:
        entry = netrc.netrc(path).hosts.get(host)
    except (netrc.NetrcParseError, UnicodeDecodeError, OSError) as error:
        # the text of a parse error quotes words of the file
        raise ValueError(
            f"the netrc file can't be read ({type(error).__name__}); it should hold: "
            "machine HOST login NAME password WORD, and be its owner's alone"
        ) from None
    if entry is None:
        return "", ""
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PermissionError(
            "the netrc file has a password and others can read it: chmod 600 it"
        )
    return entry[0], entry[2] or ""


def _is_here(host: str) -> bool:
    """Whether a host is this machine, so that nothing goes over a wire."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
