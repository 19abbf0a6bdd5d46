"""Merges chains with the modules of an installed kas: one JSON object a line
in (directory and chain), the merged configuration a line out."""
import json
import logging
import os
import sys
from kas.includehandler import IncludeHandler

logging.disable(logging.CRITICAL)
for line in sys.stdin:
    q = json.loads(line)
    os.chdir(q['dir'])
    files = [os.path.abspath(f) for f in q['chain'].split(':')]
    try:
        config, missing = IncludeHandler(files, q['dir']).get_config()
        config['header'].pop('includes', None)
        a = {'json': json.dumps(config, indent=4), 'missing': missing}
    except Exception as e:
        a = {'error': str(e) or type(e).__name__}
    print(json.dumps(a), flush=True)
