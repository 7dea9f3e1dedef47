"""Any inpainting pipeline of diffusers, with pretrained weights, as a method that is not trained here."""
