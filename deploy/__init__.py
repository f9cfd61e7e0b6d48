"""Puts the service's image on AWS ECS Fargate, keeps it there and takes it away again."""
