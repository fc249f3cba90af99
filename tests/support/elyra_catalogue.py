"""What Elyra's catalogue has, for an environment with Elyra: a line of JSON for each component. In sys.argv: its schema."""

import json
import sys

from elyra.pipeline.component_catalog import ComponentCache
from elyra.pipeline.runtime_type import RuntimeProcessorType

catalogue = ComponentCache.instance(emulate_server_app=True)
catalogue.load()
catalogue.wait_for_all_cache_tasks()
for component in catalogue.get_all_components(RuntimeProcessorType.KUBEFLOW_PIPELINES):
    if component.catalog_type == sys.argv[1]:
        ways = {each.ref: each.allowed_input_types for each in component.properties if each.ref}
        print(json.dumps({"id": component.id, "name": component.name, "properties": ways}))
