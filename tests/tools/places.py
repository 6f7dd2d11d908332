"""Writes a file with the places of some IP addresses, in MaxMind's format.

usage: places.py FILE
"""

import sys

from mmdb_writer import MMDBWriter
from netaddr import IPSet

writer = MMDBWriter(ip_version=6, database_type="GeoLite2-City", languages=["en", "de"], ipv4_compatible=True)
writer.insert_network(
    IPSet(["192.0.2.0/24"]),
    {
        "city": {"names": {"en": "Zurich", "de": "Zürich"}},
        "country": {"iso_code": "CH", "names": {"en": "Switzerland", "de": "Schweiz"}},
    },
)
writer.insert_network(IPSet(["2001:db8::/32"]), {"country": {"iso_code": "XX", "names": {"en": "<b>Nowhere"}}})
writer.to_db_file(sys.argv[1])
