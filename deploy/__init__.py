"""Deploys the service's image to AWS ECS Fargate, operates it and deletes it again."""
