"""What a server with certificates and tokens has, and what a client needs to be let in."""

import subprocess
import tempfile
from collections import namedtuple
from pathlib import Path

from common import SOON, Broken
from server import settings

# The file with the certificate of an authority, and a name with its secret; None where the server wants none.
Access = namedtuple("Access", "authority login", defaults=(None, None))
# The name of no machine that there is; certificates hold for a day.
SUBJECT, DAYS = "/CN=kafka-clients.invalid", "1"
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Address(str):
    """An address, with what a client needs there."""

    access = Access()

    @classmethod
    def of(cls, address, authority=None, login=None):
        made = cls(address)
        made.access = Access(authority, login)
        return made


def access_of(address):
    return getattr(address, "access", Access())


def protocol_of(access):
    """As all clients call it."""
    return ("SASL_" if access.login else "") + ("SSL" if access.authority else "PLAINTEXT")


def librdkafka(address):
    """The settings of librdkafka."""
    access = access_of(address)
    given = {"security.protocol": protocol_of(access)}
    if access.authority:
        given["ssl.ca.location"] = access.authority
    if access.login:
        name, secret = access.login
        given |= {"sasl.mechanisms": "PLAIN", "sasl.username": name, "sasl.password": secret}
    return given


def python_settings(address):
    """The settings that kafka-python and aiokafka have in common."""
    access = access_of(address)
    given = {"security_protocol": protocol_of(access)}
    if access.login:
        name, secret = access.login
        given |= {"sasl_mechanism": "PLAIN", "sasl_plain_username": name, "sasl_plain_password": secret}
    return given


class Files:
    """A file with tokens, an authority, another one, and a certificate for this machine with its key."""

    def __init__(self, logins):
        self.dir = Path(tempfile.mkdtemp(prefix="access-", dir=settings["dir"]))
        self.tokens, self.cert, self.key = self._path("tokens"), self._path("cert.pem"), self._path("key.pem")
        Path(self.tokens).write_text("".join(f"{name} {secret}\n" for name, secret in logins.items()))
        self.authority, by = self._authority("authority")
        self.other_authority, _ = self._authority("other")
        request, names = self._path("request.pem"), self._path("names")
        Path(names).write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n")
        openssl("req", *KEY, "-keyout", self.key, "-out", request, "-subj", SUBJECT)
        openssl(
            "x509", "-req", "-in", request, "-CA", self.authority, "-CAkey", by, "-CAcreateserial", "-days", DAYS,
            "-extfile", names, "-out", self.cert,
        )

    def _path(self, name):
        return str(self.dir / name)

    def _authority(self, name):
        cert, key = self._path(f"{name}.pem"), self._path(f"{name}-key.pem")
        openssl("req", "-x509", *KEY, "-keyout", key, "-out", cert, "-days", DAYS, "-subj", f"/CN={name}")
        return cert, key


def openssl(*args):
    done = subprocess.run(["openssl", *args], capture_output=True, timeout=SOON, check=False)
    if done.returncode != 0:
        raise Broken(f"openssl {args[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}")
