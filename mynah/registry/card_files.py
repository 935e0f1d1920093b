"""Names of the model card's files, which `mynah card` writes and the registry keeps."""

PREVIEW_FILE = "card.json"  # what the pictures and the share page show: the samples to choose from, and which one is chosen
README_FILE = "README.md"  # the card itself
PICTURE_FILE, PAGE_FILE = "predictions.png", "predictions.html"  # the chosen sample, as a picture and as a page to share
PIPELINE_PICTURE = "pipeline.png"

# Beside a checkpoint's weights, because licences of base models ask for them: the base model's licence and notices, and what `mynah publish` adds.
BASE_LICENSE_FILE, BASE_NOTICE_FILE, NOTICE_FILE = "BASE_LICENSE.txt", "BASE_NOTICE.txt", "NOTICE.txt"
