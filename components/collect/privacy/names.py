"""What the names of columns say of personal data in them, in English and other languages."""

from __future__ import annotations

import functools
import re
import unicodedata

import pyarrow as pa


def name_kinds(name: str, type: pa.DataType | None = None) -> set[str]:
    """The kinds that a column's name suggests, in English and other languages: `Customer_eMail`, `Nachname`, `DOB`.

    Args:
      name: the column's name; words are parted by anything but letters and digits, and by capitals.
      type: its type, so that no flag or count is taken for what it is about; None for text.
    """
    words = words_of(name)
    if not words or _OF_SOMETHING.intersection(words):
        return set()
    kinds = set()
    start = 0
    while start < len(words):
        for length in (4, 3, 2, 1):
            phrase = "".join(words[start : start + length])
            if start + length <= len(words) and phrase in _PHRASES:
                kinds.add(_PHRASES[phrase])
                start += length
                break
        else:
            start += 1
    text = type is None or is_text(type) or (pa.types.is_dictionary(type) and is_text(type.value_type))
    if not text:
        kinds -= {"name", "address", "email", "ip", "iban", "mac"}
        if not (is_number(type) or pa.types.is_temporal(type)) or pa.types.is_duration(type):
            kinds.clear()
    return kinds - {""}


def axis_of(name: str) -> tuple[str, tuple[str, ...]] | None:
    """`latitude` or `longitude` where a name says so, and the name's other words."""
    words = words_of(name)
    for word in words:
        if word in _AXES:
            return _AXES[word], tuple(other for other in words if other != word)
    return None


def is_text(kind: pa.DataType) -> bool:
    return str(kind) in ("string", "large_string", "binary", "large_binary", "string_view", "binary_view")


def is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


@functools.lru_cache(4096)
def words_of(name: str) -> tuple[str, ...]:
    """A name's words in lower case, without accents and numbers."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode()
    return tuple(word.lower() for word in re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+", plain))


def _phrases() -> dict[str, str]:
    """What names of columns say, by their words written together; nothing where a phrase means something else."""
    spelled = {
        "email": "email emailaddress emailadresse mailaddress mailadresse mail emailid correoelectronico courriel",
        "phone": "phone telephone tel telefon telefono telefone telefoonnummer telefonnummer mobile mobilenumber cell "
        "cellphone mobilephone handy handynummer fax faxnumber msisdn phonenumber phoneno rufnummer",
        "card": "cardnumber cardno cardnum creditcard debitcard paymentcard ccnumber ccnum pan kreditkarte "
        "kreditkartennummer kartennummer creditcardnumber numerocarte",
        "iban": "iban ibannumber bankaccountiban",
        "us_ssn": "ssn socialsecurity socialsecuritynumber",
        "uk_nino": "nino ninumber nationalinsurance nationalinsurancenumber",
        "de_steuer_id": "steuerid steueridnr steueridentifikationsnummer identifikationsnummer idnr",
        "es_dni": "dni nie nif",
        "it_codice_fiscale": "codicefiscale codfiscale",
        "fr_nir": "nir numerosecu securitesociale numerosecuritesociale",
        "nl_bsn": "bsn burgerservicenummer sofinummer",
        "br_cpf": "cpf",
        "in_aadhaar": "aadhaar aadhar aadhaarnumber",
        "se_personnummer": "personnummer personnr samordningsnummer",
        "pl_pesel": "pesel",
        "ip": "ip ipv ipaddress ipaddr remoteaddr remoteaddress clientaddr sourceaddr ipadresse",
        "mac": "mac macaddress macaddr hardwareaddress macadresse",
        "coordinates": "coordinate coordinates coords coord latlon latlng latlong lonlat geo gps geopoint location "
        "position koordinate koordinaten coordenadas coordonnees",
        "name": "surname forename namefirst namelast vorname nachname familienname geburtsname prenom nomdefamille "
        "apellido primerapellido segundoapellido cognome voornaam achternaam imie nazwisko fornamn efternamn sobrenome "
        "cardholder accountholder",
        "address": "address addr addressline street streetaddress postaladdress homeaddress mailingaddress adresse "
        "anschrift strasse wohnadresse direccion domicilio calle indirizzo endereco adres straat adress gatuadress",
        "birth_date": "birthdate dateofbirth birthday dob birthyear yearofbirth geburtsdatum geburtstag geburtsjahr "
        "datenaissance datedenaissance fechanacimiento fechadenacimiento datanascita datadinascita geboortedatum "
        "datanascimento datadenascimento dataurodzenia fodelsedatum",
        "": "webaddress urladdress memoryaddress walletaddress contractaddress blockaddress baseaddress addressid "
        "streetid nameid phoneid mailid cardid mobileapp mobileos locationid positionid",
    }
    phrases = {phrase: kind for kind, line in spelled.items() for phrase in line.split()}
    people = (
        "first last given family sur fore full middle maiden birth legal nick person people customer client patient "
        "employee contact passenger guest driver student teacher member owner holder cardholder accountholder "
        "beneficiary recipient sender applicant tenant citizen doctor physician nurse spouse father mother child rider"
    )
    phrases.update({f"{person}name": "name" for person in people.split()})
    phrases.update({f"{phrase}s": kind for phrase, kind in list(phrases.items()) if f"{phrase}s" not in phrases})
    return phrases


_PHRASES = _phrases()
_OF_SOMETHING = frozenset(
    [
        "count",
        "counts",
        "flag",
        "is",
        "has",
        "type",
        "kind",
        "status",
        "verified",
        "valid",
        "length",
        "len",
        "hash",
        "hashed",
        "sha",
        "md",
        "masked",
        "score",
        "domain",
        "provider",
        "carrier",
        "brand",
        "model",
        "consent",
        "opt",
        "optin",
        "subscribed",
        "sent",
        "opened",
        "clicked",
        "total",
        "avg",
        "mean",
        "share",
        "rate",
        "ratio",
        "pct",
        "percent",
        "version",
    ]
)
_AXES = {"lat": "latitude", "latitude": "latitude", "breitengrad": "latitude", "latitud": "latitude"} | {
    word: "longitude" for word in ("lon", "lng", "long", "longitude", "laengengrad", "langengrad", "longitud")
}
