"""What a child of `pgbourse serve --processes N` runs; see pgbourse.serve.child. Nobody else starts it."""

import sys

from pgbourse.serve.child import main

sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
