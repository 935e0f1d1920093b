"""Names of adapters and their base models in stores and the registry; importing them takes no time."""

import re

BASE_TAG = "mynah.base_digest"  # on a version: of its base model's weights; on a logged model: of which it is an adapter
RANK_TAG = "mynah.adapter_rank"  # on a version that is an adapter
BYTES_TAG = "mynah.bytes"  # on a version: what its files take, without those of an adapter's base model
BASES_FOLDER = "bases"  # of base models, each in a folder named by its digest
DIGEST = re.compile(r"[0-9a-f]{32}(\+[0-9a-f]{32})*")  # of weights, in one or several files
ADAPTER_CONFIG, BASE_RECORD = "adapter_config.json", "base_model.json"  # in an adapter's folder
BASE_PATH = "base_model_name_or_path"  # in the former: where peft looks for the base model
MODEL = "model/"  # the Hugging Face folder, or the adapter, within a version's files
MOUNT = "/mnt/models"  # where a pod of KServe has a version's files, and in BASES_FOLDER below it an adapter's base model
