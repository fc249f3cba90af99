"""A task of a pipeline that Elyra made."""

import sys

from headwater.pipelines.elyra import main

main(sys.argv[1:])
