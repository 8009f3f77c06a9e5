azure_subscription = "00000000-0000-0000-0000-000000000000"
azure_group        = "popvote-images"
azure_location     = "germanywestcentral"
