# Reads JSON, a value a line, and writes each as weave.shared.digest has it hashed.
import json
import sys

for line in sys.stdin:
    sys.stdout.write(json.dumps(json.loads(line), sort_keys=True) + "\n")
