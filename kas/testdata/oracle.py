"""Answers for YAML texts with PyYAML, in the way of kas: one JSON object a
line in, one a line out. The dumper does what kas' plugins/dump.py makes
PyYAML do; "sort" is the default of yaml.dump, which the fork leaves on."""
import json
import sys
import yaml


class Dumper(yaml.Dumper):
    def represent_data(self, data):
        if isinstance(data, str):
            style = '|' if '\n' in data else None
            return self.represent_scalar('tag:yaml.org,2002:str', data, style=style)
        if data is None:
            return self.represent_scalar('tag:yaml.org,2002:null', '')
        return super().represent_data(data)


for line in sys.stdin:
    q = json.loads(line)
    try:
        data = yaml.safe_load(q['yaml'])
        a = {'dump': yaml.dump(data, indent=q['indent'], sort_keys=q['sort'], Dumper=Dumper)}
        try:
            a['json'] = json.dumps(data, indent=q['indent'])
        except TypeError:
            pass
    except (yaml.YAMLError, ValueError) as e:
        a = {'error': str(e)}
    print(json.dumps(a), flush=True)
