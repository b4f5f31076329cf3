import sys

from bench import ledger, run

if sys.argv[1:2] == ["ledger"]:
    sys.exit(ledger.main(sys.argv[2:]))
sys.exit(run.main())
