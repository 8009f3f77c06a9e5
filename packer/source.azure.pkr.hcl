source "azure-arm" "azure" {
  use_azure_cli_auth                = true
  subscription_id                   = var.azure_subscription
  managed_image_name                = local.name
  managed_image_resource_group_name = var.azure_group
  location                          = var.azure_location
  vm_size                           = "Standard_B2s"
  os_type                           = "Linux"
  os_disk_size_gb                   = 30 # Debian's base is that large already
  image_publisher                   = "Debian"
  image_offer                       = "debian-12"
  image_sku                         = "12-gen2"
  ssh_username                      = "packer"
  azure_tags                        = local.labels
}
