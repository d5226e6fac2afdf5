"""Makes the certificates of the test kit. Needs the package `cryptography`.

They are stored because what they are for is their dates, which no build should change.
The key protects nothing.
"""

import datetime
import ipaddress
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HERE = pathlib.Path(__file__).parent


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def day(year):
    return datetime.datetime(year, 1, 1)


authority_key = ec.generate_private_key(ec.SECP256R1())
key = ec.generate_private_key(ec.SECP256R1())


def builder(subject, public_key, first, last):
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(name("backhaul test authority"))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
    )


authority = (
    builder(name("backhaul test authority"), authority_key.public_key(), day(2000), day(9999))
    .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    .sign(authority_key, hashes.SHA256())
)
(HERE / "authority.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))

hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
for file, first, last in [
    ("valid", day(2000), day(9999)),
    ("expired", day(2000), day(2001)),
    ("not_yet_valid", day(9000), day(9999)),
]:
    certificate = (
        builder(name("backhaul test server"), key.public_key(), first, last)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    (HERE / f"{file}.der").write_bytes(certificate.public_bytes(serialization.Encoding.DER))

(HERE / "key.der").write_bytes(
    key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
)
