"""Merges chains with the modules of an installed kas: one JSON object a line
in (directory, chain, update), the merged configuration a line out. The first
line out is the version. For kas 3 and for kas 5."""
import inspect
import json
import logging
import os
import sys
import kas
from kas.includehandler import IncludeHandler

logging.disable(logging.CRITICAL)
print(json.dumps({'version': kas.__version__}), flush=True)
old = 'top_repo_path' in inspect.signature(IncludeHandler.__init__).parameters
if not old:
    # kas 5 asks git where the repository begins, in a context of its own.
    import kas.repos
    kas.repos.Repo.get_root_path = staticmethod(lambda path, fallback=True: q['dir'])
for line in sys.stdin:
    q = json.loads(line)
    os.chdir(q['dir'])
    files = [os.path.abspath(f) for f in q['chain'].split(':')]
    try:
        handler = IncludeHandler(files, q['dir']) if old else IncludeHandler(files, not q['update'])
        config, missing = handler.get_config()
        config['header'].pop('includes', None)
        a = {'json': json.dumps(config, indent=4), 'missing': missing}
    except Exception as e:
        a = {'error': str(e) or type(e).__name__}
    print(json.dumps(a), flush=True)
